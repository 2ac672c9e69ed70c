import math

import torch

from glip_pl.boxes import clip, decode, rescale, to_cxcywh, to_xyxy
from glip_pl.layers.anchors import cell_anchors

PRIOR = torch.tensor([10.0, 20.0, 30.0, 60.0])  # Centre (20, 40), 20 wide, 40 high.


def test_corners_become_centre_and_size_and_back():
    assert to_cxcywh(PRIOR).tolist() == [20, 40, 20, 40]
    assert to_xyxy(to_cxcywh(PRIOR)).tolist() == PRIOR.tolist()


def test_a_zero_offset_leaves_the_prior():
    assert torch.allclose(decode(PRIOR, torch.zeros(4)), PRIOR)


def test_offsets_shift_by_tenths_and_scale_by_fifths_of_a_logarithm():
    offset = torch.tensor([5.0, -2.5, 5 * math.log(2), 5 * math.log(0.5)])

    # Centre (20 + 0.5·20, 40 − 0.25·40) = (30, 30); size (40, 20).
    assert torch.allclose(decode(PRIOR, offset), torch.tensor([10.0, 20.0, 50.0, 40.0]))


def test_a_huge_offset_stays_finite():
    box = decode(PRIOR, torch.tensor([0.0, 0.0, 1e4, 1e4]))

    assert torch.allclose(to_cxcywh(box)[2:], torch.tensor([20.0, 40.0]) * 1000 / 16)


def test_boxes_are_clipped_to_height_and_width():
    assert clip(torch.tensor([-5.0, 3.0, 50.0, 90.0]), (60, 40)).tolist() == [0, 3, 40, 60]


def test_boxes_follow_their_image_to_a_new_size():
    assert rescale(PRIOR, (60, 40), (30, 80)).tolist() == [20, 10, 60, 30]


def test_an_anchor_is_a_square_centred_on_its_cell():
    anchors = cell_anchors([torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)], [8, 16], scale=8)

    assert anchors.tolist() == [[-28, -28, 36, 36], [-20, -28, 44, 36], [-56, -56, 72, 72]]
