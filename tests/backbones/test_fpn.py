"""The pyramid against values worked out by hand; test_swin.py holds it against official GLIP."""

import pytest
import torch

from glip_pl.backbones import FPN
from glip_pl.backbones.fpn import DropBlock


def identity_pyramid(extra_levels: int = 0) -> FPN:
    """One channel; each convolution passes its centre through, so only the additions remain."""
    fpn = FPN((1, 1), 1, extra_levels=extra_levels)
    for parameter in fpn.parameters():
        parameter.data.zero_()
    for conv in (*fpn.laterals, *fpn.outputs, *fpn.extra):
        conv.weight.data[0, 0, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
    return fpn


def test_a_fine_level_adds_the_coarse_one_below_it():
    fine = torch.zeros(1, 1, 3, 4)
    coarse = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])

    levels = identity_pyramid()((fine, coarse))

    assert levels[0][0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    assert levels[1].equal(coarse)


def test_only_between_extra_levels_stands_a_relu():
    coarse = torch.full((1, 1, 4, 4), -2.0)

    levels = identity_pyramid(extra_levels=2)((torch.zeros(1, 1, 8, 8), coarse))

    assert levels[2][0, 0].tolist() == [[-2, -2], [-2, -2]]
    assert levels[3][0, 0].tolist() == [[0]]


def test_extra_levels_double_the_stride():
    assert FPN((8, 8, 8), 16).output_strides((8, 16, 32)) == (8, 16, 32, 64, 128)
    assert FPN((8, 8, 8), 16, extra_levels=0).output_strides((4, 8, 16)) == (4, 8, 16)


def test_convolutions_start_without_bias():
    assert all(p.eq(0).all() for name, p in FPN((4, 8), 8).named_parameters() if "bias" in name)


def test_a_dropped_block_is_a_square_over_all_channels(monkeypatch):
    seeds = torch.ones(1, 1, 4, 4)
    seeds[0, 0, 0, 2] = 0.0
    monkeypatch.setattr(torch, "rand", lambda *shape, device: seeds)

    out = DropBlock(0.3).train()(torch.ones(1, 2, 4, 4))

    scale = 16 / 10  # Six of 16 cells are dropped; the block is cut off by the border.
    for channel in out[0]:
        assert (channel / scale).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1] * 4, [1] * 4]


def test_dropping_keeps_the_sum_of_a_constant_map():
    torch.manual_seed(0)

    out = DropBlock(0.3).train()(torch.ones(3, 4, 16, 16))

    assert out.sum().item() == pytest.approx(3 * 4 * 16 * 16, rel=1e-5)


def test_about_the_asked_share_is_dropped():
    torch.manual_seed(0)

    out = DropBlock(0.1).train()(torch.ones(8, 1, 64, 64))

    # Blocks overlap a little, hence somewhat less than 0.1.
    assert 0.08 < (out == 0).float().mean() < 0.105


def test_nothing_is_dropped_in_evaluation():
    x = torch.ones(1, 1, 8, 8)

    assert DropBlock(0.9).eval()(x).equal(x)


def test_a_share_of_one_is_refused():
    with pytest.raises(ValueError, match=r"drop_block=1\.0 must lie in \[0, 1\)"):
        FPN((4,), 4, drop_block=1.0)
