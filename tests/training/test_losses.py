import math

import pytest
import torch

from glip_pl.matching.atss import centerness_target
from glip_pl.training.losses import (
    box_giou_loss,
    box_l1_loss,
    token_focal_loss,
    token_target,
)

ONE = torch.ones(1, 1, dtype=torch.bool)


def focal(logit, positive):
    loss = token_focal_loss(torch.tensor([[[logit]]]), torch.tensor([[[positive]]]), ONE)
    return float(loss)


def test_focal_loss_of_an_undecided_positive():
    # p = 1/2: 0.25 · (1/2)² · ln 2.
    assert focal(0.0, True) == pytest.approx(0.25 * 0.25 * math.log(2))


def test_focal_loss_of_an_undecided_negative():
    assert focal(0.0, False) == pytest.approx(0.75 * 0.25 * math.log(2))


def test_focal_loss_passes_over_what_is_well_classified():
    assert focal(6.0, True) < 1e-5 * focal(-6.0, True)


def test_focal_loss_stays_finite_at_extreme_logits():
    assert math.isfinite(focal(-1e4, True))
    assert focal(1e4, True) == 0


def test_padding_tokens_have_no_loss():
    logits = torch.tensor([[[0.0, 50.0]]])
    target = torch.zeros(1, 1, 2, dtype=torch.bool)

    loss = token_focal_loss(logits, target, torch.tensor([[True, False]]))

    assert float(loss) == pytest.approx(0.75 * 0.25 * math.log(2))


def test_centerness_is_one_in_the_middle_and_falls_towards_the_rim():
    box = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).expand(2, 4)
    anchors = torch.tensor([[8.0, 8.0, 12.0, 12.0], [3.0, 8.0, 7.0, 12.0]])

    # The second lies 5 from the left rim and 15 from the right: √(5/15).
    assert centerness_target(anchors, box).tolist() == pytest.approx([1, math.sqrt(1 / 3)])


def test_l1_is_counted_in_units_of_the_image():
    predicted = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[10.0, 0.0, 30.0, 10.0]])
    size = torch.tensor([[100.0, 50.0, 100.0, 50.0]])

    # Centres (5, 5) and (20, 5), sizes (10, 10) and (20, 10): 0.15 + 0.10.
    assert box_l1_loss(predicted, boxes, size).tolist() == pytest.approx([0.25])


def test_giou_of_separate_boxes_grows_with_their_gap():
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    near, far = box + torch.tensor([20.0, 0, 20, 0]), box + torch.tensor([40.0, 0, 40, 0])

    # Enclosing areas 300 and 500, unions 200: 1 − (0 − 100/300) and 1 − (0 − 300/500).
    assert float(box_giou_loss(box, near)) == pytest.approx(4 / 3)
    assert float(box_giou_loss(box, far)) == pytest.approx(1.6)


def test_each_region_is_trained_towards_the_tokens_of_its_box():
    matching = torch.tensor([[1, -1, 0]])
    tokens = [torch.tensor([[True, False, False], [False, True, True]])]

    assert token_target(matching, tokens).int().tolist() == [[[0, 1, 1], [0, 0, 0], [1, 0, 0]]]


def test_an_image_without_boxes_has_only_negatives():
    target = token_target(torch.tensor([[-1, -1]]), [torch.zeros(0, 3, dtype=torch.bool)])

    assert target.shape == (1, 2, 3)
    assert not target.any()
