"""Attention inside the windows of a map as one operator, for graphs that leave PyTorch.

How many windows there are is a quotient of the map's size. Traced step by step, each stage of a
Swin Transformer nests it once more, and an exporter no longer ends; an operator that returns a map
of the same size hides it. Each format has a translation of its own, ONNX that of
`glip_pl.export.window_attention`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.windows import cut_windows


@torch.library.custom_op("glip_pl::window_attention", mutates_args=())
def window_attention(
    x: Tensor, weight: Tensor, bias: Tensor, position_bias: Tensor, window: int, shift: int
) -> Tensor:
    """Attend inside windows that are moved by `shift`; the last projection is left to the caller.

    Args:
        x: The map, [B, H, W, C].
        weight: Of the projection to queries, keys and values, [3 C, C].
        bias: Likewise, [3 C].
        position_bias: What each pair of cells adds to the scores, [1, heads, T, T].
        window: Side of a window in cells.
        shift: Cells that the windows are moved.

    Returns:
        [B, H, W, C].
    """
    batch, height, width, channels = x.shape
    cut = cut_windows(height, width, window, shift, x.device)
    cells = cut.cut(x.flatten(1, 2))
    qkv = F.linear(cells, weight, bias)  # [B, windows, T, 3 C]
    qkv = qkv.view(*qkv.shape[:3], 3, position_bias.shape[1], -1).permute(3, 0, 1, 4, 2, 5)
    unmixed = cells.shape[1] - len(cut.mask)
    mask = F.pad(cut.mask, (0, 0, 0, 0, unmixed, 0))[:, None] + position_bias
    query, key, value = qkv.unbind()
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[None])
    joined = cut.join(out.transpose(2, 3).reshape(batch, -1, window**2, channels))
    return joined.view(batch, height, width, channels)


@window_attention.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor, position_bias: Tensor, window: int, shift: int
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class UncutWindows:
    """Windows that the operator cuts.

    Attributes:
        window: Side of a window in cells.
        shift: Cells that the windows are moved.
    """

    window: int
    shift: int

    def attend(self, x: Tensor, qkv: nn.Linear, position_bias: Tensor) -> Tensor:
        """Attend inside windows of a map [B, H, W, C]; see `window_attention`."""
        out: Tensor = window_attention(
            x, qkv.weight, qkv.bias, position_bias, self.window, self.shift
        )
        return out
