"""Modulated deformable 3x3 convolution, fast on a CPU.

Every output position looks at nine *taps*; each tap is moved by a learned offset, read bilinearly
between its four *corners* and scaled by a modulation. See Deformable ConvNets v2
(https://arxiv.org/abs/1811.11168).

On a CPU the feature map becomes a table with one row per cell, so that reading all taps is one
weighted `embedding_bag` (four rows a tap) and the convolution one matrix product. Elsewhere
torchvision's kernel does the same.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import deform_conv2d

from glip_pl.layers.precision import at_least_fp32

TAPS = 9

# Sampled values held at a time. Larger blocks leave the cache, and the allocator returns them to
# the system and faults them in again on every call (measured: up to 1.7 times slower).
_BLOCK = 2**21


def deformable_conv2d(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1
) -> Tensor:
    """Convolve with a 3x3 kernel whose taps are moved and scaled; padding 1, dilation 1.

    A tap is read bilinearly and cells outside the map count as zero. Under autocast on a CPU
    features and kernel take the autocast dtype; positions stay in float32 or wider.

    Args:
        x: Features, [B, C, H, W].
        offset: Cells that each tap moves, [B, 18, H_o, W_o]; channel 2t is the (downward) y and
            2t + 1 the x of tap t = 3 * row + column.
        mask: Modulation of each tap, [B, 9, H_o, W_o].
        weight: Kernel, [C_o, C, 3, 3].
        bias: [C_o].
        stride: Cells between neighbouring outputs.

    Returns:
        [B, C_o, H_o, W_o]; on a CPU in channels-last memory format, the cheapest for `x` too.

    Raises:
        ValueError: `offset` or `mask` does not fit `x` and `stride`.
    """
    size = tuple((side - 1) // stride + 1 for side in x.shape[-2:])
    for name, given, channels in (("offset", offset, 2 * TAPS), ("mask", mask, TAPS)):
        if given.shape != (len(x), channels, *size):
            raise ValueError(
                f"{name} has the shape {tuple(given.shape)}, but features {tuple(x.shape)} with "
                f"stride {stride} need {(len(x), channels, *size)}"
            )
    offset, mask = at_least_fp32(offset), at_least_fp32(mask)
    if x.device.type != "cpu":
        # The kernel has no bfloat16; official GLIP runs it in float32 as well.
        moved: Tensor = deform_conv2d(
            at_least_fp32(x),
            offset,
            at_least_fp32(weight),
            at_least_fp32(bias),
            stride,
            padding=1,
            mask=mask,
        )
        return moved.to(x.dtype)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    kernel = weight.permute(0, 2, 3, 1).flatten(1)  # [C_o, 9 * C], like the rows of sampled taps
    convolved: Tensor = _TableConvolution.apply(
        x.to(dtype), offset, mask, kernel.to(dtype), bias.to(dtype), stride
    )
    return convolved


class _Taps:
    """Where the taps of all outputs read, and with which weights.

    Positions are clamped to the ring of zero cells around the map, where they read what lies
    outside: nothing. So no corner needs a test of its own.

    Attributes:
        rows: The four corners of each tap as rows of the table, int32 [B, n, 9, 4].
        bilinear: Their weights before modulation, [B, n, 9, 4].
        mask: Modulation, [B, n, 9].
        y: Place of each tap between the upper and lower corners, in [0, 1], [B, n, 9].
        x: The same between the left and right corners.
        moves_y, moves_x: False where a tap is too far outside for its movement to matter.
    """

    def __init__(self, offset: Tensor, mask: Tensor, height: int, width: int, stride: int) -> None:
        batch, _, rows, columns = offset.shape
        step = torch.arange(-1, 2)
        starts = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) * stride
        still = starts[:, None] + torch.cartesian_prod(step, step)  # [n, 9, 2]
        move_y, move_x = _by_position(offset).view(batch, -1, TAPS, 2).unbind(-1)
        top, self.y, self.moves_y = _bracket(still[..., 0] + move_y, height)
        left, self.x, self.moves_x = _bracket(still[..., 1] + move_x, width)
        self.mask = _by_position(mask)
        up, before = 1 - self.y, 1 - self.x
        self.bilinear = torch.stack(
            [up * before, up * self.x, self.y * before, self.y * self.x], -1
        )
        pitch = width + 2
        image = torch.arange(batch, dtype=torch.int32)[:, None, None] * ((height + 2) * pitch)
        corners = torch.tensor([0, 1, pitch, pitch + 1], dtype=torch.int32)
        self.rows = ((top + 1) * pitch + (left + 1) + image)[..., None] + corners

    def weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the corners with the modulation, [B, n, 9, 4]."""
        return (self.bilinear * self.mask[..., None]).to(dtype)

    def gradients(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradient of `weights`, those of offset [B, n, 18] and modulation [B, n, 9]."""
        change = change.to(self.mask.dtype)
        modulation = (change * self.bilinear).sum(-1)
        top_left, top_right, low_left, low_right = change.unbind(-1)
        down = torch.lerp(low_left - top_left, low_right - top_right, self.x)
        right = torch.lerp(top_right - top_left, low_right - low_left, self.y)
        moves = torch.stack([down * self.moves_y, right * self.moves_x], -1) * self.mask[..., None]
        return moves.flatten(2), modulation


class _TableConvolution(torch.autograd.Function):
    """The CPU path. Sampled values are computed again in the backward pass, not kept."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, bias: Tensor, stride: int
    ) -> Tensor:
        batch, channels, height, width = x.shape
        # One row per cell, with a ring of zero rows around each map.
        table = x.new_zeros(batch, height + 2, width + 2, channels)
        table[:, 1:-1, 1:-1] = x.permute(0, 2, 3, 1)
        taps = _Taps(offset, mask, height, width, stride)
        rows, weights = taps.rows.view(-1, 4), taps.weights(x.dtype).view(-1, 4)
        block = max(TAPS, _BLOCK // channels // TAPS * TAPS)
        out = x.new_empty(len(rows) // TAPS, len(kernel))
        for first in range(0, len(rows), block):
            some = slice(first, first + block)
            sampled = _weighted_rows(table, rows[some], weights[some]).view(-1, kernel.shape[1])
            out[first // TAPS : first // TAPS + len(sampled)] = F.linear(sampled, kernel, bias)
        ctx.save_for_backward(table, offset, mask, kernel)
        ctx.stride = stride
        return _to_map(out.view(batch, -1, len(kernel)), offset)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        table, offset, mask, kernel = ctx.saved_tensors
        batch, padded_height, padded_width, channels = table.shape
        taps = _Taps(offset, mask, padded_height - 2, padded_width - 2, ctx.stride)
        weights = taps.weights(table.dtype)
        grad = _by_position(grad)
        grad_kernel = torch.zeros_like(kernel, dtype=mask.dtype)
        grad_table, grad_weights = torch.empty_like(table), torch.empty_like(weights)
        images = max(1, _BLOCK // (channels * TAPS * grad.shape[1]))
        for first in range(0, batch, images):
            some = slice(first, first + images)
            maps = table[some]
            rows = (taps.rows[some] - first * padded_height * padded_width).view(-1, 4)
            grad_out = grad[some].flatten(0, 1)
            grad_sampled = (grad_out @ kernel).view(-1, channels)
            with torch.enable_grad():
                weight = weights[some].view(-1, 4).detach().requires_grad_()
                sampled = _weighted_rows(maps, rows, weight)
            (change,) = torch.autograd.grad(sampled, weight, grad_sampled)
            grad_weights[some] = change.view_as(grad_weights[some])
            grad_kernel += grad_out.T @ sampled.detach().view(len(grad_out), -1)
            grad_table[some] = _scatter_rows(grad_sampled, rows, weight.detach(), maps)
        grad_offset, grad_mask = taps.gradients(grad_weights)
        return (
            grad_table[:, 1:-1, 1:-1].permute(0, 3, 1, 2),
            _to_map(grad_offset, offset),
            _to_map(grad_mask, offset),
            grad_kernel.to(kernel.dtype),
            grad.sum((0, 1)),
            None,
        )


def _bracket(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split coordinates into cell and way to the next cell, and tell whether moving matters."""
    moves = (position >= -1) & (position < size)
    position = position.clamp(-1, size)
    cell = position.floor().clamp(max=size - 1)
    # A position that is not a number gives a sample that is none, but must not give a row number.
    return cell.nan_to_num(-1.0).int(), position - cell, moves


def _by_position(maps: Tensor) -> Tensor:
    """[B, C, H, W] to contiguous [B, H * W, C]."""
    return maps.permute(0, 2, 3, 1).contiguous().flatten(1, 2)


def _to_map(positions: Tensor, like: Tensor) -> Tensor:
    """[B, H * W, C] to a [B, C, H, W] view with the height and width of `like`."""
    return positions.view(len(like), *like.shape[-2:], -1).permute(0, 3, 1, 2)


def _weighted_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum of four weighted rows per tap, [taps, C]."""
    return F.embedding_bag(
        rows, table.view(-1, table.shape[-1]), mode="sum", per_sample_weights=weights
    )


def _scatter_rows(values: Tensor, rows: Tensor, weights: Tensor, like: Tensor) -> Tensor:
    """Transpose of `_weighted_rows`: add each tap's value to its four rows.

    Sorting by row turns the scatter into a gather: a row is the weighted sum of the taps that read
    it. PyTorch's own gradient of `embedding_bag` takes three times as long.
    """
    ordered, order = rows.flatten().sort()
    starts = torch.arange(like.numel() // like.shape[-1] + 1, dtype=torch.int32)
    return F.embedding_bag(
        order.int() >> 2,
        values,
        torch.searchsorted(ordered, starts, out_int32=True),
        mode="sum",
        per_sample_weights=weights.flatten()[order],
        include_last_offset=True,
    ).view_as(like)
