"""Attention inside windows of a map, as in Swin Transformer, Sec. 3 (arXiv 2103.14030)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.linear import linear
from glip_pl.layers.windows import Windows


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, with a learned bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, width: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(
            torch.randn((2 * window - 1) ** 2, num_heads) * 0.02
        )
        cell = torch.arange(window)
        y, x = (c.flatten() for c in torch.meshgrid(cell, cell, indexing="ij"))
        dy, dx = y[:, None] - y, x[:, None] - x
        index = (dy + window - 1) * (2 * window - 1) + dx + window - 1
        self.register_buffer("relative_position_index", index, persistent=False)

    def bias(self) -> Tensor:
        """Look up what each pair of cells adds to the scores, [1, heads, T, T]."""
        bias = self.relative_position_bias_table[self.relative_position_index]
        return bias.permute(2, 0, 1)[None]

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """Attend inside windows, [B, windows, T, C] to the same."""
        bias = self.bias().to(x.dtype)
        qkv = (
            linear(self.qkv, x).view(*x.shape[:3], 3, self.num_heads, -1).permute(3, 0, 1, 4, 2, 5)
        )
        # Only the last windows mix cells that the shift made neighbours.
        whole = x.shape[1] - windows.mask.shape[0]
        parts = [_attend(qkv[:, :, :whole], bias)] if whole else []
        if windows.mask.shape[0]:
            mask = windows.mask[:, None].to(x.dtype)
            parts.append(_attend(qkv[:, :, whole:], (bias + mask).repeat(x.shape[0], 1, 1, 1)))
        return linear(self.proj, torch.cat(parts, 1) if len(parts) > 1 else parts[0])


def _attend(qkv: Tensor, bias: Tensor) -> Tensor:
    """Attention of [3, B, windows, heads, T, a], to [B, windows, T, heads * a]."""
    query, key, value = qkv.flatten(1, 2)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    _, batch, windows, heads, cells, width = qkv.shape
    return out.transpose(1, 2).reshape(batch, windows, cells, heads * width)
