"""Where the cells of a pyramid stand in the table that multi-scale sampling reads on a CPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where the cells of all levels stand in the table of an image, for each of the P places.

    A map of h x w cells takes h + 2 lines of w + 1 rows: the zero row before a line also ends the
    line above.

    Attributes:
        sizes: (height, width) of each level in cells.
        heads: Heads per cell.
        count: Rows of one head.
        firsts: Row of a head at which each level begins; the last entry is where all end.
        width: Of the level in cells, [P].
        height: Likewise.
        pitch: Rows from one line to the next, [P].
        origin: Row of the first cell of the head's level, [P].
    """

    sizes: tuple[tuple[int, int], ...]
    heads: int
    count: int
    firsts: tuple[int, ...]
    width: Tensor
    height: Tensor
    pitch: Tensor
    origin: Tensor

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int]], heads: int, points: int) -> "Layout":
        """Lay out levels of (height, width) cells, each read by `heads` heads at `points` points.

        Raises:
            ValueError: There are more cells than a table can hold.
        """
        firsts = [0]
        for height, width in sizes:
            firsts.append(firsts[-1] + (height + 2) * (width + 1))
        # A place on the last line's end has corners beyond, which count for nothing.
        count = firsts[-1] + max(width for _, width in sizes) + 3
        if count * heads >= 2**24:
            raise ValueError(
                f"a pyramid of {sizes} cells is too large for {heads} heads; give smaller images"
            )
        levels = zip(sizes, firsts, strict=False)
        columns = torch.tensor([(w, h, w + 1, first + w + 2) for (h, w), first in levels])
        # One head's places, [4, L * points], and then those of all.
        places = columns.T.float().repeat_interleave(points, 1)
        head = torch.arange(heads, dtype=torch.float32)[:, None] * count
        return cls(
            sizes=tuple(sizes),
            heads=heads,
            count=count,
            firsts=tuple(firsts),
            width=places[0].repeat(heads),
            height=places[1].repeat(heads),
            pitch=places[2].repeat(heads),
            origin=(places[3] + head).flatten(),
        )

    def fill(self, values: Tensor, real: Sequence[tuple[int, int]] | None) -> Tensor:
        """Write values [N, d] as rows [heads * count, width of a head].

        Args:
            values: Of the cells of an image.
            real: Where the image is padded, the (height, width) of its real part on each level.
        """
        rows = values.new_empty(self.heads, self.count, values.shape[1] // self.heads)
        parts = torch.split(values, [height * width for height, width in self.sizes])
        for level, part in enumerate(parts):
            lines = self._lines(rows, level)
            lines[:, 0] = lines[:, -1] = lines[:, :, 0] = 0
            inner = lines[:, 1:-1, 1:]
            inner.copy_(part.view(*inner.shape[1:3], self.heads, -1).permute(2, 0, 1, 3))
            if real is not None:
                inner[:, real[level][0] :] = inner[:, :, real[level][1] :] = 0
        rows[:, self.firsts[-1] :] = 0
        return rows.flatten(0, 1)

    def strip(self, rows: Tensor, real: Sequence[tuple[int, int]] | None) -> Tensor:
        """Take the gradient of values [N, d] out of that of their rows; see `fill`."""
        rows = rows.view(self.heads, self.count, -1)
        parts = []
        for level, size in enumerate(self.sizes):
            inner = self._lines(rows, level)[:, 1:-1, 1:]
            if real is not None:
                inner[:, real[level][0] :] = inner[:, :, real[level][1] :] = 0
            parts.append(inner.permute(1, 2, 0, 3).reshape(size[0] * size[1], -1))
        return torch.cat(parts)

    def last(self) -> int:
        """Return the last row that an upper left corner may be."""
        return self.heads * self.count - max(width for _, width in self.sizes) - 3

    def _lines(self, rows: Tensor, level: int) -> Tensor:
        """View the rows of a level as lines, [heads, h + 2, w + 1, width of a head]."""
        height, width = self.sizes[level]
        part = rows[:, self.firsts[level] : self.firsts[level + 1]]
        return part.view(self.heads, height + 2, width + 1, -1)
