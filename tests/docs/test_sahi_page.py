"""The class of the page about SAHI, with SAHI's own classes stood in for: it is no dependency."""

import re
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from helpers import ROOT

PAGE = (ROOT / "docs/howto/sahi.md").read_text()


class DetectionModel:
    """What SAHI's base class does with a model that exists already."""

    def __init__(self, model, confidence_threshold):
        self.confidence_threshold = confidence_threshold
        self.set_model(model)


class Model:
    """A model that finds one cup."""

    def predict(self, image, prompt, *, threshold):
        assert (image.shape, prompt, threshold) == ((8, 8, 3), "cup.", 0.4)
        return [
            SimpleNamespace(
                boxes=torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
                scores=torch.tensor([0.5]),
                labels=torch.tensor([0]),
                names=("cup",),
            )
        ]


def test_a_model_answers_as_sahi_asks(monkeypatch):
    stands_in = {
        "sahi.models.base": {"DetectionModel": DetectionModel},
        "sahi.prediction": {"ObjectPrediction": lambda *given: given},
        "sahi.utils.compatibility": {
            "fix_shift_amount_list": list,
            "fix_full_shape_list": list,
        },
    }
    for name, has in stands_in.items():
        module = ModuleType(name)
        vars(module).update(has)
        monkeypatch.setitem(sys.modules, name, module)
    names = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.S)[0], names)

    model = names["GroundingModel"](Model(), "cup.", confidence_threshold=0.4)
    model.perform_inference(np.zeros((8, 8, 3), np.uint8))
    model._create_object_prediction_list_from_original_predictions([[8, 0]], [[16, 16]])

    assert model._object_prediction_list_per_image == [
        [([1.0, 2.0, 3.0, 4.0], 0, "cup", None, 0.5, [8, 0], [16, 16])]
    ]
