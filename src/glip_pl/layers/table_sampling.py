"""Multi-scale sampling on a CPU: weighted sums of table rows.

A table has a row per head and cell, and zero rows around every map, so that no corner of a sampled
place needs a test of its own. What one head of one query sees is one bag of rows: all its points
on all levels, four corners each. `grid_sample` does the same level by level and channel by
channel, far apart in memory.

Heads, levels and points of a query stand side by side, P places in all, and whatever belongs to a
level is spread out over them: a processor then works on long runs of equal steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from glip_pl.layers.table_layout import Layout

# Places worked out at a time: small enough for the cache.
_BLOCK = 2**17


@dataclass(frozen=True)
class Table:
    """The cells of all levels of all images, as rows.

    Attributes:
        values: What the rows are made of, [B, N, d].
        rows: [B, heads * count, width of a head].
        layout: Where the cells stand.
        real: The real part of each level of each image; None where nothing is padding.
    """

    values: Tensor
    rows: Tensor
    layout: Layout
    real: Sequence[Sequence[tuple[int, int]]] | None

    @classmethod
    def of(
        cls,
        values: Tensor,
        layout: Layout,
        real: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> "Table":
        """Write values [B, N, d] as rows; see `Layout.fill`."""
        with torch.no_grad():
            padded: Sequence[Sequence[tuple[int, int]] | None] = real or [None] * len(values)
            rows = [layout.fill(x, part) for x, part in zip(values, padded, strict=True)]
        return cls(values, torch.stack(rows) if len(rows) > 1 else rows[0][None], layout, real)

    def pick(self, image: int) -> "Table":
        """Return the table of one image."""
        one = slice(image, image + 1)
        return Table(self.values[one], self.rows[one], self.layout, self.real and self.real[one])

    def sample(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Read every place bilinearly and sum what each head sees.

        Args:
            x: In cells of the level, 0 at the centre of the first one, [B, Q, P], at least float32.
            y: Likewise.
            weights: Of each place, [B, Q, P].

        Returns:
            [B, Q, d], in the dtype of the values.
        """
        if torch.is_grad_enabled():
            sampled: Tensor = _Sample.apply(self.values, x, y, weights, self)
            return sampled
        out = self.values.new_empty(*x.shape[:2], self.values.shape[2])
        for b, rows in enumerate(self.rows):
            for some in _blocks(x):
                corners = _Corners(self.layout, x[b, some], y[b, some], weights[b, some])
                bags = corners.bags(rows.dtype)
                read = F.embedding_bag(bags[0], rows, mode="sum", per_sample_weights=bags[1])
                out[b, some] = read.view(-1, out.shape[-1])
        return out


class _Corners:
    """The four corners of some places: their rows in the table, and how much each counts.

    Attributes:
        rows: Upper left, upper right, lower left, lower right, each int32 [n, P].
        right: The way to the right corners, [n, P].
        low: The way to the lower ones.
        weights: Of the places.
    """

    def __init__(self, layout: Layout, x: Tensor, y: Tensor, weights: Tensor) -> None:
        self.layout, self.weights = layout, weights
        # What lies further outside is nothing, too.
        x, y = x.clamp(min=-1).clamp_(max=layout.width), y.clamp(min=-1).clamp_(max=layout.height)
        left, top = x.floor(), y.floor()
        self.right, self.low = x.sub_(left), y.sub_(top)
        # Counted in float32: fewer rows than 2 ** 24 are exact.
        cell = torch.addcmul(left, top, layout.pitch).add_(layout.origin).int()
        pitch = layout.pitch.int()
        # A position that is not a number gives a value that is none, but must not give a row.
        cell.clamp_(0, layout.last())
        below = cell + pitch
        self.rows = cell, cell + 1, below, below + 1

    def bags(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the rows of each bag, [n * heads, 4 * P / heads], and their shares."""
        low, right = self.weights * self.low, self.weights * self.right
        both = self.low * right
        shares = (self.weights - right).sub_(low).add_(both), right.sub_(both), low.sub_(both), both
        return self._joined(self.rows), self._joined(shares).to(dtype)

    def _joined(self, corners: Sequence[Tensor]) -> Tensor:
        heads = self.layout.heads
        return torch.cat([corner.view(len(corner) * heads, -1) for corner in corners], 1)

    def gradients(self, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From the gradient of the shares [bags, 4 * P/heads], those of x, y and the weights."""
        parts = change.view(len(change), 4, -1).unbind(1)
        first, second, third, fourth = (x.reshape(self.weights.shape) for x in parts)
        above, across = second - first, third - first
        twist = fourth - third - above
        weights = first + self.right * above + self.low * (across + self.right * twist)
        moves = above + self.low * twist, across + self.right * twist
        return moves[0].mul_(self.weights), moves[1].mul_(self.weights), weights


class _Sample(torch.autograd.Function):
    """`Table.sample`, with a gradient that works out the corners again, block by block."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, y: Tensor, weights: Tensor, table: Table
    ) -> Tensor:
        ctx.save_for_backward(x, y, weights, table.rows)
        ctx.layout, ctx.real = table.layout, table.real
        with torch.no_grad():
            return table.sample(x, y, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weights, tables = ctx.saved_tensors
        layout: Layout = ctx.layout
        changes = [
            torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, y, weights)
        ]
        grad_values = []
        for b, rows in enumerate(tables):
            of_heads = grad[b].reshape(-1, rows.shape[1])
            read, shares = [], []
            for some in _blocks(x):
                corners = _Corners(layout, x[b, some], y[b, some], weights[b, some])
                bags = corners.bags(rows.dtype)
                bag = slice(some.start * layout.heads, some.start * layout.heads + len(bags[0]))
                found = corners.gradients(_along_rows(of_heads[bag], rows, bags[0]).to(x.dtype))
                for change, of_block in zip(changes, found, strict=True):
                    change[b, some] = of_block
                read.append(bags[0])
                shares.append(bags[1])
            grad_rows = _scatter(of_heads, torch.cat(read), torch.cat(shares), len(rows))
            grad_values.append(layout.strip(grad_rows, ctx.real and ctx.real[b]))
        outside = [
            (position < -1) | (position > size)
            for position, size in ((x, layout.width), (y, layout.height))
        ]
        moves = [c.masked_fill_(o, 0) for c, o in zip(changes, outside, strict=False)]
        return torch.stack(grad_values), *moves, changes[2], None


def _blocks(x: Tensor) -> list[slice]:
    """Cut the queries of places [B, Q, P]."""
    step = max(1, _BLOCK // x.shape[2])
    return [slice(start, start + step) for start in range(0, x.shape[1], step)]


def _along_rows(grad: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Compute the gradient of the shares of rows [bags, k] from that of the bags, [bags, a]."""
    count, per_bag = rows.shape
    starts = torch.arange(0, rows.numel(), per_bag, dtype=rows.dtype)
    bags = torch.arange(count, dtype=rows.dtype).repeat_interleave(per_bag)
    change: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        grad, table, rows.flatten(), starts, bags, 0
    )
    return change.view_as(rows)


def _scatter(grad: Tensor, rows: Tensor, shares: Tensor, count: int) -> Tensor:
    """Compute the gradient of a table of `count` rows from that of the bags, [bags, a].

    Sorting by row turns the scatter into a gather: a row is the weighted sum of the bags that read
    it. PyTorch's own gradient of `embedding_bag` takes several times as long.
    """
    ordered, order = rows.flatten().sort()
    ends = torch.searchsorted(ordered, torch.arange(count + 1, dtype=rows.dtype), out_int32=True)
    return F.embedding_bag(
        torch.div(order, rows.shape[1], rounding_mode="floor").int(),
        grad,
        ends,
        mode="sum",
        per_sample_weights=shares.flatten()[order],
        include_last_offset=True,
    )
