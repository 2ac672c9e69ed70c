import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from glip_pl.inference.postprocess import phrase_scores as scores_in_torch
from glip_pl.runtime.postprocess import one_per_place, phrase_scores, suppress


def test_suppression_keeps_what_torchvision_keeps():
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(5, 40, (200, 2))], 1)
    boxes = boxes.astype(np.float32)
    phrases = generator.integers(0, 3, 200)
    scores = torch.linspace(1, 0, 200)

    wanted = batched_nms(torch.tensor(boxes), scores, torch.tensor(phrases), 0.5)

    assert suppress(boxes, phrases, 0.5, 200).tolist() == wanted.tolist()


def test_suppression_stops_at_the_most_boxes():
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]], np.float32)

    assert suppress(boxes, np.zeros(3, int), 0.5, 2).tolist() == [0, 1]


@pytest.mark.parametrize("aggregate", ["mean", "max", "power", "logits"])
def test_phrases_score_as_in_torch(aggregate):
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    mapped = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)

    weights = torch.tensor([[0, 0.8, 0.2, 0], [0, 0, 0, 1]])

    wanted = scores_in_torch(logits, mapped, weights, aggregate).numpy()

    found = phrase_scores(logits.numpy(), mapped.numpy(), weights.numpy(), aggregate)
    assert np.allclose(found, wanted, atol=1e-6)


def test_a_thing_has_one_name():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]], np.float32)

    assert one_per_place(boxes).tolist() == [0, 2]
