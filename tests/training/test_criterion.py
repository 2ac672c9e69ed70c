import math
from dataclasses import replace

import pytest
import torch
from helpers import Target, make_target

from glip_pl.head import GroundingOutput
from glip_pl.matching import ATSSMatcher, HungarianMatcher, Matcher
from glip_pl.prompts import PromptTemplate
from glip_pl.training.criterion import GroundingCriterion, InclusiveCriterion

ANCHORS = torch.tensor([[0.0, 0, 20, 20], [20, 0, 40, 20], [40, 0, 60, 20]])
MASK = torch.ones(1, 2, dtype=torch.bool)


def cat(boxes, *, crowd=None):
    """One image with these boxes, each of a cat."""
    prompt = PromptTemplate().join(["cat"])
    target = make_target(boxes, [0] * len(boxes), prompt, [1], size=(20, 60))
    question = replace(target.question, positive_map=torch.tensor([[False, True]]))
    flags = torch.tensor(crowd or [False] * len(boxes), dtype=torch.bool)
    return Target(question, replace(target.truth, crowd=flags))


def losses(criterion, boxes, *, crowd=None, of=None):
    """The terms of one image of cats."""
    image = cat(boxes, crowd=crowd)
    return criterion(of or output(), [image.question], [image.truth], MASK)


def output(logits=None, boxes=None, intermediate=()):
    logits = torch.zeros(1, 3, 2) if logits is None else logits
    boxes = ANCHORS[None] if boxes is None else boxes
    return GroundingOutput(logits, boxes, torch.zeros(1, 3), ANCHORS[None], (3,), intermediate)


@pytest.mark.parametrize("matcher", [ATSSMatcher(), HungarianMatcher()], ids=["atss", "hungarian"])
def test_a_perfect_box_has_no_box_loss(matcher):
    terms = losses(GroundingCriterion(matcher), [[0, 0, 20, 20]])

    assert terms["giou"] == pytest.approx(0, abs=1e-6)
    assert terms["l1"] == pytest.approx(0, abs=1e-6)


def test_the_terms_of_one_box_by_hand():
    terms = losses(GroundingCriterion(ATSSMatcher()), [[0, 0, 20, 20]])

    # Six undecided pairs, one of them positive; centerness target 1 against a logit of 0.
    assert float(terms["token"]) == pytest.approx((0.25 + 5 * 0.75) * 0.25 * math.log(2))
    assert float(terms["centerness"]) == pytest.approx(math.log(2))


@pytest.mark.parametrize("matcher", [ATSSMatcher(), HungarianMatcher()], ids=["atss", "hungarian"])
def test_an_image_without_boxes_is_legal(matcher):
    terms = losses(GroundingCriterion(matcher), [])

    assert float(terms["token"]) == pytest.approx(6 * 0.75 * 0.25 * math.log(2))
    assert [float(terms[name]) for name in ("giou", "l1", "centerness")] == [0, 0, 0]


def test_crowds_are_not_learned():
    criterion = GroundingCriterion(ATSSMatcher())

    crowded = losses(criterion, [[0, 0, 20, 20]], crowd=[True])

    # Of three regions with two tokens each, the one in the crowd is not judged by the cat's.
    assert float(crowded.pop("token")) == pytest.approx(5 * 0.75 * 0.25 * math.log(2))
    none = losses(criterion, [])
    assert crowded == {name: none[name] for name in crowded}


def test_official_glip_takes_a_crowd_for_nothing():
    criterion = InclusiveCriterion(ATSSMatcher())

    crowded = losses(criterion, [[0, 0, 20, 20]], crowd=[True])

    assert crowded == losses(criterion, [])


def test_a_box_inside_a_crowd_is_learned():
    criterion = GroundingCriterion(ATSSMatcher())

    terms = losses(criterion, [[0, 0, 20, 20], [0, 0, 60, 20]], crowd=[False, True])

    # Both other regions are spared for the cat; the first is right.
    assert float(terms["token"]) == pytest.approx((0.25 + 3 * 0.75) * 0.25 * math.log(2))


def test_earlier_layers_are_supervised_like_the_last():
    criterion = GroundingCriterion(HungarianMatcher())
    logits = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0))
    boxes = [[0, 0, 18, 20]]

    one = losses(criterion, boxes, of=output(logits))
    deep = output(logits, intermediate=(output(logits), output(logits)))
    three = losses(criterion, boxes, of=deep)

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
    terms = losses(GroundingCriterion(FirstRegion()), [[20, 0, 40, 20]])

    assert float(terms["giou"]) == pytest.approx(1)
    assert float(terms["l1"]) == pytest.approx(20 / 60)
    assert float(terms["centerness"]) == pytest.approx(math.log(2))


def test_boxes_known_beforehand_need_no_matcher():
    criterion = GroundingCriterion(FirstRegion())
    image = cat([[20, 0, 40, 20]])
    objects = criterion.objects([image.question], [image.truth])

    terms = criterion.terms(output(), torch.tensor([[-1, 0, -1]]), objects, MASK)

    assert float(terms["giou"]) == pytest.approx(0, abs=1e-6)


def two_names(logits, **known):
    """The terms for "red cell" and "white cell", the first in the first box, told by phrases."""
    image = make_target(
        [[0, 0, 20, 20]], [0], PromptTemplate().join(["red cell", "white cell"]), [1, 2]
    )
    weights = torch.tensor([[2, 1, 0, 0], [0, 0, 2, 1]]) / 3
    asked = replace(image.question, positive_map=weights > 0, weights=weights, size=(20, 60))
    told = replace(output(logits), told="phrases")
    mask = torch.ones(1, logits.shape[-1], dtype=torch.bool)
    return GroundingCriterion(ATSSMatcher())(told, [asked], [image.truth], mask, **known)


def test_phrases_in_the_place_of_tokens_by_hand():
    terms = two_names(torch.zeros(1, 3, 4))

    # Three regions, two phrases: six undecided pairs, one of them positive.
    assert float(terms["token"]) == pytest.approx((0.25 + 5 * 0.75) * 0.25 * math.log(2))


def test_regions_whose_box_is_known_learn_phrases_too():
    logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))

    assert two_names(logits, matching=torch.tensor([[0, -1, -1]])) == two_names(logits)


def test_a_shared_word_pulls_on_a_phrase_by_its_weight():
    logits = torch.zeros(1, 3, 4, requires_grad=True)

    two_names(logits)["token"].backward()

    red, cell, white, other_cell = logits.grad[0, 0].tolist()
    assert red < 0 < white
    assert (red, white) == (pytest.approx(2 * cell), pytest.approx(2 * other_cell))


def test_images_of_one_batch_may_ask_for_different_numbers_of_phrases():
    one, three = (
        make_target([[0, 0, 20, 20]], [0], PromptTemplate().join(list("abc")[:n]), list(range(n)))
        for n in (1, 3)
    )
    asked = [
        replace(
            t.question, positive_map=torch.eye(n, 4) > 0, weights=torch.eye(n, 4), size=(20, 60)
        )
        for t, n in ((one, 1), (three, 3))
    ]
    logits = torch.zeros(2, 3, 4)
    told = GroundingOutput(
        *(logits, ANCHORS.expand(2, -1, -1), torch.zeros(2, 3), ANCHORS.expand(2, -1, -1), (3,)),
        told="phrases",
    )
    mask = torch.ones(2, 4, dtype=torch.bool)

    terms = GroundingCriterion(ATSSMatcher())(told, asked, [one.truth, three.truth], mask)

    # Two positives among 3 + 9 pairs, by two matched regions.
    assert float(terms["token"]) == pytest.approx((2 * 0.25 + 10 * 0.75) * 0.25 * math.log(2) / 2)
