import math

import pytest
import torch

from glip_pl.head import GroundingOutput
from glip_pl.matching import ATSSMatcher, HungarianMatcher, Matcher
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


@pytest.mark.parametrize("matcher", [ATSSMatcher(), HungarianMatcher()], ids=["atss", "hungarian"])
def test_a_perfect_box_has_no_box_loss(matcher):
    terms = GroundingCriterion(matcher)(output(), [target([[0, 0, 20, 20]])], MASK)

    assert terms["giou"] == pytest.approx(0, abs=1e-6)
    assert terms["l1"] == pytest.approx(0, abs=1e-6)


def test_the_terms_of_one_box_by_hand():
    terms = GroundingCriterion(ATSSMatcher())(output(), [target([[0, 0, 20, 20]])], MASK)

    # Six undecided pairs, one of them positive; centerness target 1 against a logit of 0.
    assert float(terms["token"]) == pytest.approx((0.25 + 5 * 0.75) * 0.25 * math.log(2))
    assert float(terms["centerness"]) == pytest.approx(math.log(2))


@pytest.mark.parametrize("matcher", [ATSSMatcher(), HungarianMatcher()], ids=["atss", "hungarian"])
def test_an_image_without_boxes_is_legal(matcher):
    terms = GroundingCriterion(matcher)(output(), [target([])], MASK)

    assert float(terms["token"]) == pytest.approx(6 * 0.75 * 0.25 * math.log(2))
    assert [float(terms[name]) for name in ("giou", "l1", "centerness")] == [0, 0, 0]


def test_crowds_are_not_learned():
    criterion = GroundingCriterion(ATSSMatcher())

    crowded = criterion(output(), [target([[0, 0, 20, 20]], crowd=[True])], MASK)

    assert crowded == criterion(output(), [target([])], MASK)


def test_earlier_layers_are_supervised_like_the_last():
    criterion = GroundingCriterion(HungarianMatcher())
    logits = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0))
    truth = [target([[0, 0, 18, 20]])]

    one = criterion(output(logits), truth, MASK)
    three = criterion(output(logits, intermediate=(output(logits), output(logits))), truth, MASK)

    for name, value in one.items():
        assert float(three[name]) == pytest.approx(3 * float(value))


class FirstRegion(Matcher):
    """The first region takes the first box, and everything counts a half."""

    def match(self, regions, objects):
        matching = torch.full((len(regions.boxes),), -1)
        matching[0] = 0
        return matching

    def centerness(self, priors, predicted, boxes):
        return torch.full((len(priors),), 0.5)


def test_a_matcher_of_ones_own_owns_matching_and_centerness():
    # The second anchor is the box's: the matcher's choice, 20 pixels beside it, has no overlap.
    terms = GroundingCriterion(FirstRegion())(output(), [target([[20, 0, 40, 20]])], MASK)

    assert float(terms["giou"]) == pytest.approx(1)
    assert float(terms["l1"]) == pytest.approx(20 / 60)
    assert float(terms["centerness"]) == pytest.approx(math.log(2))


def test_boxes_known_beforehand_need_no_matcher():
    criterion = GroundingCriterion(FirstRegion())
    objects = criterion.objects([target([[20, 0, 40, 20]])])

    terms = criterion.terms(output(), torch.tensor([[-1, 0, -1]]), objects, MASK)

    assert float(terms["giou"]) == pytest.approx(0, abs=1e-6)
