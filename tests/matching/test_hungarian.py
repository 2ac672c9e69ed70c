import math
from itertools import permutations

import pytest
import torch

from glip_pl.matching import HungarianMatcher, Objects, Regions

SIZE = (50, 100)  # (height, width)


def match(logits, boxes, target_boxes, target_tokens, **costs):
    """Match the regions of one image; where they started from does not matter."""
    regions = Regions(logits, boxes, torch.zeros_like(boxes), (len(boxes),))
    return HungarianMatcher(**costs).match(regions, Objects(target_boxes, target_tokens, SIZE))


def squares(*lefts):
    """Boxes of ten pixels at the top of the image."""
    return torch.tensor([[float(x), 0.0, x + 10.0, 10.0] for x in lefts])


def random_boxes(count):
    corner = torch.rand(count, 2) * torch.tensor([60.0, 30.0])
    return torch.cat([corner, corner + 2 + torch.rand(count, 2) * 18], dim=1)


def scalar_cost(logits, box, target_box, target_tokens):
    """The cost of one pair, written out in plain numbers."""
    alpha, gamma = 0.25, 2
    changes = []
    for logit, positive in zip(logits.tolist(), target_tokens.tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        taken = -alpha * (1 - p) ** gamma * math.log(p)
        left = -(1 - alpha) * p**gamma * math.log(1 - p)
        changes += [taken - left] if positive else []

    (a1, b1, a2, b2), (c1, d1, c2, d2) = box.tolist(), target_box.tolist()
    l1 = abs((a1 + a2) - (c1 + c2)) / 2 / 100 + abs((b1 + b2) - (d1 + d2)) / 2 / 50
    l1 += abs((a2 - a1) - (c2 - c1)) / 100 + abs((b2 - b1) - (d2 - d1)) / 50

    common = max(0, min(a2, c2) - max(a1, c1)) * max(0, min(b2, d2) - max(b1, d1))
    union = (a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - common
    hull = (max(a2, c2) - min(a1, c1)) * (max(b2, d2) - min(b1, d1))
    giou = common / union - (hull - union) / hull
    return 2 * sum(changes) / len(changes) + 5 * l1 - 2 * giou


def test_the_total_counts_not_the_nearest():
    # Nearest first would pay 1 + 10; the other pairing costs 6 + 3.
    costs = {"token_cost": 0, "l1_cost": 1, "giou_cost": 0}
    regions, targets = squares(4, 0), squares(3, 10)

    matching = match(torch.zeros(2, 1), regions, targets, torch.ones(2, 1).bool(), **costs)

    assert matching.tolist() == [1, 0]


def test_of_equal_boxes_the_tokens_decide():
    logits = torch.tensor([[-1.0, 3.0], [2.0, -1.0]])

    matching = match(logits, squares(0, 0), squares(0, 0), torch.eye(2).bool())

    assert matching.tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_matching_is_cheaper(seed):
    torch.manual_seed(seed)
    logits, boxes, target_boxes = 3 * torch.randn(5, 4), random_boxes(5), random_boxes(3)
    target_tokens = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]).bool()

    matching = match(logits, boxes, target_boxes, target_tokens)

    def total(regions):  # Region regions[g] takes box g.
        return sum(
            scalar_cost(logits[n], boxes[n], target_boxes[g], target_tokens[g])
            for g, n in enumerate(regions)
        )

    best = min(permutations(range(5), 3), key=total)
    expected = [best.index(n) if n in best else -1 for n in range(5)]
    assert matching.tolist() == expected


def test_the_order_of_regions_does_not_matter():
    torch.manual_seed(0)
    logits, boxes, target_boxes = torch.randn(6, 2), random_boxes(6), random_boxes(2)
    order = torch.randperm(6)

    def matched(ids):
        return match(logits[ids], boxes[ids], target_boxes, torch.eye(2).bool()).tolist()

    assert matched(order) == [matched(torch.arange(6))[n] for n in order]


def test_an_image_without_boxes_takes_nothing():
    matching = match(torch.zeros(2, 3), squares(0, 5), torch.zeros(0, 4), torch.zeros(0, 3).bool())

    assert matching.tolist() == [-1, -1]


def test_with_more_boxes_than_regions_every_region_takes_one():
    target_tokens = torch.ones(3, 1).bool()

    matching = match(torch.zeros(2, 1), squares(80, 0), squares(0, 40, 80), target_tokens)

    assert matching.tolist() == [2, 0]


def test_a_masked_token_does_not_count():
    logits = torch.tensor([[-1.0, -math.inf], [2.0, -math.inf]])

    matching = match(logits, squares(0, 0), squares(0), torch.tensor([[True, False]]))

    assert matching.tolist() == [-1, 0]


def test_a_region_that_is_not_finite_takes_a_box_only_where_no_other_can():
    boxes = squares(0, 5)
    boxes[0, 2] = math.nan
    tokens = torch.ones(2, 1).bool()

    one = match(torch.zeros(2, 1), boxes, squares(0), tokens[:1])
    both = match(torch.zeros(2, 1), boxes, squares(0, 5), tokens)

    assert one.tolist() == [-1, 0]
    assert sorted(both.tolist()) == [0, 1]
