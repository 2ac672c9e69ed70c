"""Deformable convolution by a table: weighted sums of its rows, then one matrix product.

A table has one row per cell, with a ring of zero rows around each map. On a CPU both directions are
operators of their own, so that torch.compile takes each as one step; `gathered_convolution` is the
same function of PyTorch's own operators, for any device.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 9

# Sampled values held at a time. Larger blocks leave the cache, and the allocator returns them to
# the system and faults them in again on every call (measured: up to 1.7 times slower).
_BLOCK = 2**21


class _Taps:
    """Where the taps of all outputs read, and with which weights.

    Positions are clamped to the ring of zero cells around the map, where they read what lies
    outside: nothing. So no corner needs a test of its own. Outputs stand last, so that what is the
    same for all taps of an output is read in a row.

    Attributes:
        rows: The four corners of each tap as rows of the table, int32 [n, 9, 4].
        bilinear: Their weights before modulation, four times [9, n].
        mask: Modulation, [9, n].
        y: Place of each tap between the upper and lower corners, in [0, 1], [9, n].
        x: The same between the left and right corners.
        moves_y, moves_x: False where a tap is too far outside for its movement to matter; None
            where nobody asks for gradients.
    """

    def __init__(self, offset: Tensor, mask: Tensor, places: Tensor, *, gradients: bool) -> None:
        row, column, height, width, first = places.T.contiguous()  # each [n]
        around = torch.arange(-1, 2, dtype=places.dtype, device=offset.device)
        step_y, step_x = torch.cartesian_prod(around, around).T[..., None]  # each [9, 1]
        move_y, move_x = offset.T.contiguous().view(TAPS, 2, -1).unbind(1)
        top, self.y, self.moves_y = _bracket(row + step_y + move_y, height, gradients)
        left, self.x, self.moves_x = _bracket(column + step_x + move_x, width, gradients)
        self.mask = mask.T.contiguous()
        up, before = 1 - self.y, 1 - self.x
        self.bilinear = (up * before, up * self.x, self.y * before, self.y * self.x)
        pitch = width + 2
        # The ring's first row and column stand before the first cell.
        corner = top * pitch + left + (first + pitch + 1)
        below = corner + pitch
        self.rows = _by_output(corner, corner + 1, below, below + 1)

    def weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the corners with the modulation, [n, 9, 4]."""
        return _by_output(*((weight * self.mask).to(dtype) for weight in self.bilinear))

    def gradients(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradient of `weights`, those of offset [n, 18] and modulation [n, 9]."""
        assert self.moves_y is not None
        assert self.moves_x is not None
        change = change.to(self.mask.dtype).flatten(1).T.contiguous().view(TAPS, 4, -1)
        top_left, top_right, low_left, low_right = corners = change.unbind(1)
        modulation = torch.stack([*map(torch.mul, corners, self.bilinear)]).sum(0)
        down = torch.lerp(low_left - top_left, low_right - top_right, self.x)
        right = torch.lerp(top_right - top_left, low_right - low_left, self.y)
        moves = torch.stack([down * self.moves_y, right * self.moves_x], 1) * self.mask[:, None]
        return moves.flatten(0, 1).T, modulation.T


def table_convolution(
    table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, bias: Tensor, places: Tensor
) -> Tensor:
    """Sample the table at all taps and multiply with the kernel.

    Args:
        table: Cells of all maps, [R, C].
        offset: How far each tap moves, (y, x) in cells, [n, 18].
        mask: How much each tap counts, [n, 9].
        kernel: [C_o, 9 * C].
        bias: [C_o].
        places: Where the window of each output stands, int32 [n, 5].

    Returns:
        The outputs, [n, C_o].
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        out: Tensor = _operator(table, offset, mask, kernel, bias, places)
        return out
    # Where nothing is recorded the operator adds nothing, and calling one for the first time
    # imports PyTorch's compiler, which takes as long as PyTorch itself.
    return _convolve(table, offset, mask, kernel, bias, places)


@torch.library.custom_op("glip_pl::table_convolution", mutates_args=())
def _operator(
    table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, bias: Tensor, places: Tensor
) -> Tensor:
    return _convolve(table, offset, mask, kernel, bias, places)


def _convolve(
    table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, bias: Tensor, places: Tensor
) -> Tensor:
    taps = _Taps(offset, mask, places, gradients=False)
    rows, weights = taps.rows.view(-1, 4), taps.weights(table.dtype).view(-1, 4)
    out = table.new_empty(len(places), len(kernel))
    step = max(1, _BLOCK // (table.shape[1] * TAPS))
    for first in range(0, len(places), step):
        some = slice(first * TAPS, (first + step) * TAPS)
        sampled = _weighted_rows(table, rows[some], weights[some]).view(-1, kernel.shape[1])
        torch.addmm(bias, sampled, kernel.T, out=out[first : first + step])
    return out


@_operator.register_fake
def _(
    table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, bias: Tensor, places: Tensor
) -> Tensor:
    return table.new_empty(len(places), len(kernel))


@torch.library.custom_op("glip_pl::table_convolution_backward", mutates_args=())
def table_convolution_backward(
    grad: Tensor, table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, places: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of table, offset, mask and kernel, shaped as these.

    Of the gradient [n, C_o] of `table_convolution`; what was sampled there is sampled again.
    """
    taps = _Taps(offset, mask, places, gradients=True)
    weights = taps.weights(table.dtype)
    grad_kernel = torch.zeros_like(kernel, dtype=mask.dtype)
    grad_table, grad_weights = torch.zeros_like(table), torch.empty_like(weights)
    for some, part in _parts(places, table):
        # Each part of the outputs reads a part of the table that no other reads.
        rows = (taps.rows[some] - part.start).view(-1, 4)
        grad_out = grad[some]
        grad_sampled = (grad_out @ kernel).view(-1, table.shape[1])
        weight = weights[some].view(-1, 4)
        sampled = _weighted_rows(table[part], rows, weight)
        grad_weights[some] = _along_rows(grad_sampled, table[part], rows).view(-1, TAPS, 4)
        grad_kernel += grad_out.T @ sampled.view(len(grad_out), -1)
        grad_table[part] = _scatter_rows(grad_sampled, rows, weight, table[part])
    grad_offset, grad_mask = taps.gradients(grad_weights)
    return grad_table, grad_offset, grad_mask, grad_kernel.to(kernel.dtype)


@table_convolution_backward.register_fake
def _(
    grad: Tensor, table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, places: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tuple(torch.empty_like(given) for given in (table, offset, mask, kernel))  # type: ignore[return-value]


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    table, offset, mask, kernel, _, places = inputs
    ctx.save_for_backward(table, offset, mask, kernel, places)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad = grad.contiguous()
    grad_table, grad_offset, grad_mask, grad_kernel = table_convolution_backward(
        grad, *ctx.saved_tensors
    )
    return grad_table, grad_offset, grad_mask, grad_kernel, grad.sum(0), None


_operator.register_autograd(_backward, setup_context=_keep_inputs)


def gathered_convolution(
    table: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, bias: Tensor, places: Tensor
) -> Tensor:
    """Compute `table_convolution`, [n, C_o], on any device; autograd goes through.

    All outputs are sampled at once.
    """
    taps = _Taps(offset, mask, places, gradients=True)
    rows, weights = taps.rows.view(-1, 4), taps.weights(table.dtype).view(-1, 4)
    sampled = _weighted_rows(table, rows, weights).view(-1, kernel.shape[1])
    return torch.addmm(bias, sampled, kernel.T)


def _parts(places: Tensor, table: Tensor) -> list[tuple[slice, slice]]:
    """Cut outputs and table at the images, into parts small enough to be sampled at once."""
    changes = (places[1:, 4] != places[:-1, 4]).nonzero().flatten() + 1
    ends = [0]
    for start, end in pairwise([0, *changes.tolist(), len(places)]):
        if start > ends[-1] and (end - ends[-1]) * TAPS * table.shape[1] > _BLOCK:
            ends.append(start)
    ends.append(len(places))
    firsts = [int(places[start, 4]) for start in ends[:-1]]
    outputs = (slice(start, end) for start, end in pairwise(ends))
    rows = (slice(first, stop) for first, stop in pairwise([*firsts, len(table)]))
    return list(zip(outputs, rows, strict=True))


def _bracket(
    position: Tensor, size: Tensor, gradients: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Split coordinates into cell and way to the next cell, and tell whether moving matters."""
    moves = None
    # Beyond the ring a tap stands still, for autograd, too.
    still = torch.minimum(position.detach().clamp(min=-1), size)
    if gradients:
        moves = (position >= -1) & (position < size)
        still = torch.where(moves, position, still)
    cell = torch.minimum(still.floor(), size - 1)
    # A position that is not a number gives a sample that is none, but must not give a row number.
    return cell.nan_to_num(-1.0).int(), still - cell, moves


def _by_output(*corners: Tensor) -> Tensor:
    """Four times [9, n] to [n, 9, 4]."""
    return torch.stack([of_taps.T for of_taps in corners], -1)


def _weighted_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum of four weighted rows per tap, [taps, C]."""
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)


def _along_rows(values: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Gradient of `_weighted_rows` with respect to its weights, [taps, 4]."""
    starts = torch.arange(0, rows.numel(), 4, dtype=rows.dtype)
    bags = torch.arange(rows.numel(), dtype=rows.dtype) >> 2
    change: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        values, table, rows.flatten(), starts, bags, 0
    )
    return change.view_as(rows)


def _scatter_rows(values: Tensor, rows: Tensor, weights: Tensor, like: Tensor) -> Tensor:
    """Transpose of `_weighted_rows`: add each tap's value to its four rows.

    Sorting by row turns the scatter into a gather: a row is the weighted sum of the taps that read
    it. PyTorch's own gradient of `embedding_bag` takes three times as long.
    """
    ordered, order = rows.flatten().sort()
    starts = torch.arange(len(like) + 1, dtype=torch.int32)
    return F.embedding_bag(
        order.int() >> 2,
        values,
        torch.searchsorted(ordered, starts, out_int32=True),
        mode="sum",
        per_sample_weights=weights.flatten()[order],
        include_last_offset=True,
    )
