import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from glip_pl.layers import deformable, table_convolution
from glip_pl.layers.deformable import deformable_conv2d


def inputs(stride=1, height=7, width=9, reach=3.0):
    """Features, offset, mask, kernel and bias; the first two taps stay on whole cells."""
    generator = torch.Generator().manual_seed(0)
    size = ((height - 1) // stride + 1, (width - 1) // stride + 1)
    shapes = [(2, 4, height, width), (2, 18, *size), (2, 9, *size), (3, 4, 3, 3), (3,)]
    x, offset, mask, weight, bias = (torch.randn(s, generator=generator) for s in shapes)
    offset[:, :4] = 0
    tensors = [x, offset * reach, mask.sigmoid(), weight, bias]
    return [tensor.requires_grad_() for tensor in tensors]


def gradients(out, tensors):
    """Gradients of a sum in which every output value counts differently."""
    return torch.autograd.grad(
        (out * torch.arange(out.numel()).view(out.shape).sin()).sum(), tensors
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_the_result_is_that_of_torchvision(stride):
    x, offset, mask, weight, bias = inputs(stride)

    ours = deformable_conv2d(x, offset, mask, weight, bias, stride=stride)

    theirs = deform_conv2d(x, offset, weight, bias, stride, padding=1, mask=mask)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_every_gradient_is_that_of_torchvision(stride):
    x, offset, mask, weight, bias = tensors = inputs(stride)

    ours = gradients(deformable_conv2d(x, offset, mask, weight, bias, stride=stride), tensors)

    theirs = gradients(deform_conv2d(x, offset, weight, bias, stride, 1, mask=mask), tensors)
    for name, got, expected in zip(
        ("x", "offset", "mask", "weight", "bias"), ours, theirs, strict=True
    ):
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5, msg=name)


def test_without_movement_it_is_an_ordinary_convolution():
    x, offset, mask, weight, bias = inputs()

    still = deformable_conv2d(x, offset * 0, torch.ones_like(mask), weight, bias)

    torch.testing.assert_close(still, F.conv2d(x, weight, bias, padding=1), atol=1e-5, rtol=1e-5)


def test_a_tap_between_two_cells_reads_their_weighted_mean():
    x = torch.tensor([[10.0, 20.0], [30.0, 40.0]]).view(1, 1, 2, 2)
    offset = torch.zeros(1, 18, 2, 2)
    offset[0, 8, 0, 0] = 0.25  # Tap 4, the centre, of the top left output: a quarter cell down.
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1.0

    out = deformable_conv2d(x, offset, torch.ones(1, 9, 2, 2), weight, torch.zeros(1))

    assert out.flatten().tolist() == [15.0, 20.0, 30.0, 40.0]


def test_taps_far_outside_read_nothing():
    x, offset, mask, weight, bias = inputs()

    out = deformable_conv2d(x, torch.full_like(offset, 1e6), mask, weight, bias)

    assert torch.equal(out, bias.view(1, 3, 1, 1).expand_as(out))


def test_work_in_small_blocks_changes_nothing(monkeypatch):
    x, offset, mask, weight, bias = tensors = inputs()
    at_once = deformable_conv2d(x, offset, mask, weight, bias)
    monkeypatch.setattr(table_convolution, "_BLOCK", 400)  # Eleven positions at a time, one image.

    in_blocks = deformable_conv2d(x, offset, mask, weight, bias)

    torch.testing.assert_close(in_blocks, at_once, atol=1e-6, rtol=0)
    pairs = zip(gradients(in_blocks, tensors), gradients(at_once, tensors), strict=True)
    for got, expected in pairs:
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_autocast_keeps_positions_in_single_precision():
    # Steps of 1/512 around 100 cells away: bf16 would round the offset by up to half a cell.
    x = torch.arange(300.0).view(1, 1, 1, 300) / 256
    offset = torch.zeros(1, 18, 1, 300)
    offset[0, 9, 0, 0] = 100 + 1 / 4
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1.0

    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = deformable_conv2d(x, offset, torch.ones(1, 9, 1, 300), weight, torch.zeros(1))

    assert out.dtype == torch.bfloat16
    assert out[0, 0, 0, 0].item() == pytest.approx(100.25 / 256, rel=2**-8)


def test_gradients_under_autocast_point_the_same_way():
    x, offset, mask, weight, bias = tensors = inputs(reach=1.0)
    exact = deformable_conv2d(x, offset, mask, weight, bias)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = deformable_conv2d(x, offset, mask, weight, bias)

    ours = torch.autograd.grad((rough.float() ** 2).sum(), tensors)
    expected = torch.autograd.grad((exact**2).sum(), tensors)
    for got, wanted in zip(ours, expected, strict=True):
        assert got.dtype == torch.float32
        assert F.cosine_similarity(got.flatten(), wanted.flatten(), dim=0) > 0.999


def test_an_offset_that_is_not_a_number_reaches_the_output():
    x, offset, mask, weight, bias = inputs()

    out = deformable_conv2d(x, offset * torch.nan, mask, weight, bias)

    assert out.isnan().all()


def test_an_offset_of_another_size_is_refused():
    x, offset, mask, weight, bias = inputs()

    with pytest.raises(ValueError, match=r"offset has the shape .*stride 2 need \(2, 18, 4, 5\)"):
        deformable_conv2d(x, offset, mask, weight, bias, stride=2)


@pytest.mark.parametrize("stride", [1, 2])
def test_other_devices_gather_to_the_same_result_and_gradients(stride, monkeypatch):
    x, offset, mask, weight, bias = tensors = inputs(stride)
    expected = deform_conv2d(x, offset, weight, bias, stride, 1, mask=mask)

    monkeypatch.setattr(deformable, "table_convolution", table_convolution.gathered_convolution)
    ours = deformable_conv2d(x, offset, mask, weight, bias, stride=stride)

    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        gradients(ours, tensors), gradients(expected, tensors), atol=2e-5, rtol=1e-5
    )
