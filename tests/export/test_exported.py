"""The graphs of a folder in the place of a model, where they are scored on data."""

import torch
from small_models import built

from glip_pl.export import exported
from glip_pl.fusion import PyramidFeatures, TextFeatures
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess

MASK = torch.ones(1, 8, 8, dtype=torch.bool)


class Graph:
    """Answers as the graph of the ground does, for one region and two tokens."""

    def __init__(self, path):
        self.path = path

    def __call__(self, **_):
        return torch.zeros(1, 1, 2), torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.tensor([1])


def test_graphs_are_scored_as_the_model_that_they_came_from(monkeypatch, tmp_path):
    monkeypatch.setattr(exported, "_Graph", Graph)
    model = built("late")
    model.told = "phrases"

    graphs = exported.ExportedModel(tmp_path, model)
    image = PyramidFeatures((torch.zeros(1, 4, 1, 1),), (8,), MASK)
    text = TextFeatures(torch.zeros(1, 2, 64), torch.ones(1, 2, dtype=torch.bool))

    assert graphs.ground(image, text).told == "phrases"
    assert Detector(graphs.as_model(), PostProcess()).texts is not None
