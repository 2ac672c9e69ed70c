"""The operator against the attention that detection runs."""

import pytest
import torch

from glip_pl.layers.window_attention import WindowAttention
from glip_pl.layers.window_operator import UncutWindows
from glip_pl.layers.windows import cut_windows


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (3, 2)])
@pytest.mark.parametrize("shift", [0, 2])
def test_the_operator_attends_as_the_module_does(size, shift):
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 4)
    x = torch.randn(2, *size, 8)

    with torch.no_grad():
        cut = cut_windows(*size, 4, shift, x.device)
        usual = cut.join(attention(cut.cut(x.flatten(1, 2)), cut)).view_as(x)
        attended = UncutWindows(4, shift).attend(x, attention.qkv, attention.bias())

    assert torch.allclose(attention.proj(attended), usual, atol=1e-5)
