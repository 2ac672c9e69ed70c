import math

import pytest
import torch

from glip_pl.head import GroundingOutput
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Target
from glip_pl.training.criterion import GroundingCriterion

ANCHORS = torch.tensor([[0.0, 0, 20, 20], [20, 0, 40, 20], [40, 0, 60, 20]])
MASK = torch.ones(1, 2, dtype=torch.bool)


def target(boxes, crowd=None):
    count = len(boxes)
    return Target(
        boxes=torch.tensor(boxes, dtype=torch.float).reshape(-1, 4),
        shows=torch.tensor([[True]] * count).reshape(count, 1),
        positive_map=torch.tensor([[False, True]]),
        crowd=torch.tensor(crowd or [False] * count, dtype=torch.bool),
        phrase_ids=torch.tensor([1]),
        size=(20, 60),
        original_size=(20, 60),
        image_id=1,
        prompt=PromptTemplate().join(["cat"]),
    )


def output(logits=None, boxes=None, intermediate=()):
    logits = torch.zeros(1, 3, 2) if logits is None else logits
    boxes = ANCHORS[None] if boxes is None else boxes
    return GroundingOutput(logits, boxes, torch.zeros(1, 3), ANCHORS[None], (3,), intermediate)


@pytest.mark.parametrize("assignment", ["atss", "hungarian"])
def test_a_perfect_box_has_no_box_loss(assignment):
    terms = GroundingCriterion(assignment)(output(), [target([[0, 0, 20, 20]])], MASK)

    assert terms["giou"] == pytest.approx(0, abs=1e-6)
    assert terms["l1"] == pytest.approx(0, abs=1e-6)


def test_the_terms_of_one_box_by_hand():
    terms = GroundingCriterion("atss")(output(), [target([[0, 0, 20, 20]])], MASK)

    # Six undecided pairs, one of them positive; centerness target 1 against a logit of 0.
    assert float(terms["token"]) == pytest.approx((0.25 + 5 * 0.75) * 0.25 * math.log(2))
    assert float(terms["centerness"]) == pytest.approx(math.log(2))


@pytest.mark.parametrize("assignment", ["atss", "hungarian"])
def test_an_image_without_boxes_is_legal(assignment):
    terms = GroundingCriterion(assignment)(output(), [target([])], MASK)

    assert float(terms["token"]) == pytest.approx(6 * 0.75 * 0.25 * math.log(2))
    assert [float(terms[name]) for name in ("giou", "l1", "centerness")] == [0, 0, 0]


def test_crowds_are_not_learned():
    criterion = GroundingCriterion("atss")

    crowded = criterion(output(), [target([[0, 0, 20, 20]], crowd=[True])], MASK)

    assert crowded == criterion(output(), [target([])], MASK)


def test_earlier_layers_are_supervised_like_the_last():
    criterion = GroundingCriterion("hungarian")
    logits = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0))
    truth = [target([[0, 0, 18, 20]])]

    one = criterion(output(logits), truth, MASK)
    three = criterion(output(logits, intermediate=(output(logits), output(logits))), truth, MASK)

    for name, value in one.items():
        assert float(three[name]) == pytest.approx(3 * float(value))
