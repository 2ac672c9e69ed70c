"""Multi-scale sampling on a CPU: weighted sums of table rows.

A table has a row per cell and head, and a ring of zero rows around every map, so that no corner of
a sampled place needs a test of its own. What one head of one query sees is one bag of rows: all its
points on all levels, four corners each. `grid_sample` does the same level by level and channel by
channel, far apart in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Points worked out at a time where no gradient is needed: small enough for the cache.
_BLOCK = 2**17


@dataclass(frozen=True)
class Table:
    """The cells of all levels of all images, as rows.

    Attributes:
        rows: [B * R * heads, width of a head].
        first: The row of the first cell of each level's ring, before the heads are counted, [L].
        size: (width, height) of each level in cells, [L, 2].
        cells: R, rows per image before the heads are counted.
        heads: Heads per cell.
    """

    rows: Tensor
    first: Tensor
    size: Tensor
    cells: int
    heads: int

    @classmethod
    def of(cls, values: Tensor, sizes: Sequence[tuple[int, int]], heads: int) -> "Table":
        """Lay out values [B, N, d] of levels of (height, width) cells."""
        areas = [(height + 2) * (width + 2) for height, width in sizes]
        total = sum(areas)
        rows = values.new_zeros(len(values), total, values.shape[-1])
        parts = torch.split(values, [height * width for height, width in sizes], dim=1)
        firsts = [0]
        for (height, width), part in zip(sizes, parts, strict=True):
            ring = rows[:, firsts[-1] : firsts[-1] + (height + 2) * (width + 2)]
            ring = ring.view(len(values), height + 2, width + 2, -1)
            ring[:, 1:-1, 1:-1] = part.reshape(len(part), height, width, -1)
            firsts.append(firsts[-1] + (height + 2) * (width + 2))
        size = values.new_tensor([(width, height) for height, width in sizes], dtype=torch.float32)
        first = torch.tensor(firsts[:-1], dtype=torch.float32)
        return cls(rows.view(-1, values.shape[-1] // heads), first, size, total, heads)


def sample_table(table: Table, places: Tensor, weights: Tensor) -> Tensor:
    """Read every place bilinearly and sum what each head sees.

    Args:
        table: The cells.
        places: (x, y) in cells of each level, 0 at the centre of the first one,
            [B, Q, heads, L, points, 2], at least float32.
        weights: Of each place, [B, Q, heads, L, points].

    Returns:
        [B, Q, heads * width of a head], in the dtype of the table.
    """
    batch, queries, heads = weights.shape[:3]
    if torch.is_grad_enabled():
        image = torch.arange(batch).view(-1, 1, 1, 1, 1)
        rows, shares = _corners(table, places, weights, image)
        summed: Tensor = sum_rows(table.rows, rows, shares.to(table.rows.dtype))
        return summed.view(batch, queries, -1)
    out = table.rows.new_empty(batch, queries, heads * table.rows.shape[1])
    step = max(1, _BLOCK // weights[0, 0].numel())
    for b in range(batch):
        image = torch.tensor(b)
        for start in range(0, queries, step):
            some = slice(start, start + step)
            rows, shares = _corners(table, places[b, some], weights[b, some], image)
            sampled = _sum_rows(table.rows, rows, shares.to(table.rows.dtype))
            out[b, some] = sampled.view(-1, out.shape[-1])
    return out


def _corners(table: Table, places: Tensor, weights: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Find the rows that each bag reads, and the share of each; [bags, 4 * L * points]."""
    width, height = table.size[:, :1], table.size[:, 1:]
    x, y = places.unbind(-1)
    left, right_share = _bracket(x, width)
    top, low_share = _bracket(y, height)
    with torch.no_grad():
        pitch = width + 2
        cell = (top + 1) * pitch + (left + 1) + table.first[:, None]
        head = torch.arange(table.heads, dtype=torch.int32).view(-1, 1, 1)
        # Counted in float32, a row of one image is exact; the images and heads are too many for it.
        row = (cell.int() + image.int() * table.cells) * table.heads + head
        down = pitch.int() * table.heads
        rows = torch.stack([row, row + table.heads, row + down, row + down + table.heads], -1)
    low, right = weights * low_share, weights * right_share
    both = low * right_share
    shares = torch.stack([weights - low - right + both, right - both, low - both, both], -1)
    return rows.flatten(-3).flatten(0, -2), shares.flatten(-3).flatten(0, -2)


def _bracket(position: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Split positions into the cell before them and the way to the next; outside is the ring."""
    position = torch.minimum(position.clamp(min=-1), size)
    with torch.no_grad():
        # A position that is not a number gives a value that is none, but must not give a row.
        cell = torch.minimum(position.floor(), size - 1).nan_to_num(-1.0)
    return cell, position - cell


@torch.library.custom_op("glip_pl::sum_rows", mutates_args=())
def sum_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted rows of a table [R, a], bags [n, k] of them with weights [n, k], to [n, a]."""
    return _sum_rows(table, rows, weights)


@sum_rows.register_fake
def _(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return table.new_empty(len(rows), table.shape[1])


@torch.library.custom_op("glip_pl::sum_rows_backward", mutates_args=())
def sum_rows_backward(
    grad: Tensor, table: Tensor, rows: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of table [R, a] and weights [n, k] from that of the sums, [n, a]."""
    count, per_bag = rows.shape
    starts = torch.arange(0, rows.numel(), per_bag, dtype=rows.dtype)
    bags = torch.arange(count, dtype=rows.dtype).repeat_interleave(per_bag)
    grad_weights: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        grad, table, rows.flatten(), starts, bags, 0
    )
    # Sorting by row turns the scatter into a gather: a row is the weighted sum of the bags that
    # read it. PyTorch's own gradient of `embedding_bag` takes several times as long.
    ordered, order = rows.flatten().sort()
    ends = torch.searchsorted(
        ordered, torch.arange(len(table) + 1, dtype=rows.dtype), out_int32=True
    )
    grad_table = F.embedding_bag(
        torch.div(order, per_bag, rounding_mode="floor").int(),
        grad,
        ends,
        mode="sum",
        per_sample_weights=weights.flatten()[order],
        include_last_offset=True,
    )
    return grad_table, grad_weights.view_as(weights)


@sum_rows_backward.register_fake
def _(grad: Tensor, table: Tensor, rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(table), torch.empty_like(weights)


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    table, rows, weights = ctx.saved_tensors
    grad_table, grad_weights = sum_rows_backward(grad.contiguous(), table, rows, weights)
    return grad_table, None, grad_weights


sum_rows.register_autograd(_backward, setup_context=_keep_inputs)


def _sum_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
