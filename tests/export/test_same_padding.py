"""Padding by constants in the place of TensorFlow's."""

import pytest
import torch
from torch import nn

from glip_pl.export.same_padding import with_fixed_padding

timm_layers = pytest.importorskip("timm.layers")


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_constants_pad_alike_where_strides_divide_the_sides(kernel, dilation):
    torch.manual_seed(0)
    same = timm_layers.Conv2dSame(4, 4, kernel, stride=2, groups=2, dilation=dilation)
    model = nn.Sequential(same, nn.ReLU(), timm_layers.Conv2dSame(4, 2, kernel, stride=2)).eval()
    maps = torch.randn(2, 4, 24, 36)

    fixed = with_fixed_padding(model)

    assert not any(isinstance(m, timm_layers.Conv2dSame) for m in fixed.modules())
    assert torch.equal(fixed(maps), model(maps))


def test_a_model_without_such_padding_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 3, 3))

    assert with_fixed_padding(model) is model
