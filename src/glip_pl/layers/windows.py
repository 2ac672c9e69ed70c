"""Windows of a map: which cells attend to each other in a Swin Transformer.

See Swin Transformer, Sec. 3.2 (https://arxiv.org/abs/2103.14030). Padding, the cyclic shift and the
cut into windows are one list of cell numbers, so that cells move through memory once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Windows:
    """How a map of H x W cells is cut into windows.

    Attributes:
        cells: The cell at each place of each window, windows * T numbers; 0 outside the map.
        places: Where each cell went, H * W numbers.
        outside: The places outside the map.
        mask: What the last windows add to their scores, [windows there, T, T]: 0 where both cells
            belong together, and -100 where only the cyclic shift made them neighbours.
    """

    cells: Tensor
    places: Tensor
    outside: Tensor
    mask: Tensor

    def cut(self, x: Tensor) -> Tensor:
        """Sort cells [B, H * W, C] into windows [B, windows, T, C], with zeros outside the map."""
        sorted_cells: Tensor = _Cut.apply(x, self.cells, self.places, self.outside)
        return sorted_cells.view(len(x), -1, self.mask.shape[-1], x.shape[-1])

    def join(self, windows: Tensor) -> Tensor:
        """Put windows [B, windows, T, C] together to cells [B, H * W, C] again."""
        places = windows.flatten(1, 2)
        cells: Tensor = _Join.apply(places, self.cells, self.places, self.outside)
        return cells


def cut_windows(height: int, width: int, window: int, shift: int, device: torch.device) -> Windows:
    """Cut a map, padded at the bottom and on the right, into windows that are moved by `shift`.

    Windows that the cyclic shift made of cells from opposite sides come last.
    """
    padded = [side + -side % window for side in (height, width)]
    row, column = (torch.arange(side, device=device).roll(-shift) for side in padded)
    inside = (row < height)[:, None] & (column < width)
    cells = torch.where(inside, row[:, None] * width + column, -1)
    regions = [_regions(side, window, shift, device) for side in padded]
    cells, region = (
        grid.view(padded[0] // window, window, padded[1] // window, window)
        .transpose(1, 2)
        .reshape(-1, window**2)
        for grid in (cells, 3 * regions[0][:, None] + regions[1])
    )
    # Counted, not looked up: a shape that depends on data could not be compiled. A shift mixes the
    # last row and the last column of windows.
    rows, columns = padded[0] // window, padded[1] // window
    mixed = rows + columns - 1 if shift else 0
    order = (region != region[:, :1]).any(1).int().argsort(stable=True)
    cells, region = cells[order].flatten(), region[order[len(order) - mixed :]]
    outside = cells.argsort(stable=True)[: len(cells) - height * width]
    places = torch.empty(height * width + 1, dtype=torch.long, device=device)
    places[cells] = torch.arange(len(cells), device=device)
    mask = (region[:, :, None] != region[:, None, :]) * -100.0
    return Windows(cells.clamp(min=0), places[:-1], outside, mask)


def _regions(side: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Return a number for each region that a shift brings together along one side."""
    # Rolled cells keep their order up to the last window, which holds a region of each side.
    cell = torch.arange(side, device=device)
    return (cell >= side - window).int() + (cell >= side - shift).int()


class _Cut(torch.autograd.Function):
    """`Windows.cut`, with a gradient that knows that every cell goes to one place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cells: Tensor, places: Tensor, outside: Tensor) -> Tensor:
        ctx.save_for_backward(cells, places, outside)
        return _pick(x, cells).index_fill_(1, outside, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _pick(grad, ctx.saved_tensors[1]), None, None, None


class _Join(torch.autograd.Function):
    """`Windows.join`, likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cells: Tensor, places: Tensor, outside: Tensor) -> Tensor:
        ctx.save_for_backward(cells, places, outside)
        return _pick(x, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        cells, _, outside = ctx.saved_tensors
        return _pick(grad, cells).index_fill_(1, outside, 0), None, None, None


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Pick rows of [B, n, C] by numbers [m], to [B, m, C]."""
    batch, rows, width = x.shape
    first = torch.arange(0, batch * rows, rows, device=x.device)[:, None]
    return x.reshape(-1, width).index_select(0, (index + first).flatten()).view(batch, -1, width)
