"""Multi-scale deformable attention: every query reads a few places on every pyramid level.

See Deformable DETR, Sec. 4.1 (https://arxiv.org/abs/2010.04159). Places are fractions of the real
image (see `glip_pl.layers.positions`), so padding moves none of them. On a CPU all places of all
levels are read at once from a table (`glip_pl.layers.table_sampling`), elsewhere level by level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.device import all_real, on_cpu
from glip_pl.layers.positions import cell_mask
from glip_pl.layers.precision import at_least_fp32
from glip_pl.layers.table_sampling import Table, sample_table
from glip_pl.layers.transformer import refuse_uneven_heads


@dataclass(frozen=True)
class CellGrid:
    """Where the cells of a pyramid lie.

    Attributes:
        sizes: (height, width) of each level in cells.
        mask: Boolean [B, N], True where a cell holds a real pixel; finest level first.
        extent: (width, height) of the real part of each level in cells, [B, L, 2], float.
        whole: Whether no cell is known to be padding.
    """

    sizes: tuple[tuple[int, int], ...]
    mask: Tensor
    extent: Tensor
    whole: bool

    @classmethod
    def of(cls, pixels: Tensor, levels: Sequence[Tensor], strides: Sequence[int]) -> "CellGrid":
        """Lay the cells of maps [B, d, H_l, W_l] over the mask [B, H, W] of the padded input."""
        masks = [
            cell_mask(pixels, stride)[:, : level.shape[2], : level.shape[3]]
            for level, stride in zip(levels, strides, strict=True)
        ]
        extent = torch.stack(
            [torch.stack([m[:, 0].sum(-1), m[:, :, 0].sum(-1)], dim=-1) for m in masks], dim=1
        )
        mask = torch.cat([m.flatten(1) for m in masks], dim=1)
        sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
        return cls(sizes, mask, extent.float(), all_real(mask))

    def centres(self) -> Tensor:
        """Locate the centre of every cell, (x, y) in fractions of the real image, [B, N, 2]."""
        return self._points(0.5)

    def edges(self) -> Tensor:
        """Locate the far edges of every cell, (x, y) in fractions of the real image, [B, N, 2].

        That is where Grounding DINO measures the place of a cell.
        """
        return self._points(1.0)

    def _points(self, within: float) -> Tensor:
        points = []
        for level, (height, width) in enumerate(self.sizes):
            y, x = torch.meshgrid(
                torch.arange(height, device=self.extent.device),
                torch.arange(width, device=self.extent.device),
                indexing="ij",
            )
            cells = torch.stack([x, y], dim=-1).flatten(0, 1) + within
            points.append(cells / self.extent[:, None, level])
        return torch.cat(points, dim=1)

    def levels(self) -> Tensor:
        """Name the level of every cell, [N]."""
        # Filled in, not copied from the host: a GPU would wait for the copy.
        numbered = enumerate(height * width for height, width in self.sizes)
        device = self.extent.device
        return torch.cat([torch.full((count,), k, device=device) for k, count in numbered])


class DeformableAttention(nn.Module):
    """Read a few places per head and level around the reference of each query.

    Args:
        d_model: Width of queries and cells.
        num_heads: Heads; they share `d_model` equally.
        num_levels: Pyramid levels, at most; of fewer, the finest ones are read.
        num_points: Places per head and level.

    Raises:
        ValueError: `num_heads` does not divide `d_model`.
    """

    def __init__(
        self, d_model: int, num_heads: int, *, num_levels: int, num_points: int = 4
    ) -> None:
        super().__init__()
        refuse_uneven_heads(d_model, num_heads)
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        places = num_heads * num_levels * num_points
        self.offsets = nn.Linear(d_model, 2 * places)
        self.weights = nn.Linear(d_model, places)
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)
        self._start()

    def _start(self) -> None:
        """Let each head look in a direction of its own, point k at a distance of k + 1 cells."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)
        moves = direction[:, None, None] * steps[:, None]  # [heads, 1, points, 2]
        nn.init.zeros_(self.offsets.weight)
        self.offsets.bias.data = moves.expand(-1, self.num_levels, -1, -1).flatten().clone()
        for parameter in self.weights.parameters():
            nn.init.zeros_(parameter)
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, reference: Tensor, cells: Tensor, grid: CellGrid) -> Tensor:
        """Read the cells for every query.

        Args:
            query: Content and position, [B, Q, d_model].
            reference: (x, y), around which offsets count in cells, or (cx, cy, w, h), around which
                they count in halves of the box divided among the points; fractions of the real
                image, [B, Q, 2 or 4].
            cells: [B, N, d_model]; padded ones are read as zero.
            grid: Where the cells lie.

        Returns:
            [B, Q, d_model].
        """
        values = self.value(cells)
        if not grid.whole:
            values = values.masked_fill(~grid.mask[..., None], 0.0)
        offsets, weights = self._looks(query, len(grid.sizes))
        extent = grid.extent[:, None, None, :, None]  # [B, 1, 1, L, 1, 2]
        around = reference[:, :, None, None, None]
        if reference.shape[-1] == 4:
            offsets = offsets * (around[..., 2:] * extent * (0.5 / self.num_points))
        places = torch.addcmul(offsets - 0.5, around[..., :2], extent)
        if on_cpu(values) and not torch.compiler.is_compiling():
            read = sample_table(Table.of(values, grid.sizes, self.num_heads), places, weights)
        else:
            read = sample_maps(values, grid.sizes, places, weights)
        updated: Tensor = self.out(read)
        return updated

    def _looks(self, query: Tensor, levels: int) -> tuple[Tensor, Tensor]:
        """Where each head looks, [B, Q, heads, L, points, 2], and how much each place counts."""
        shape = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        offsets = at_least_fp32(self.offsets(query)).view(*shape, 2)[:, :, :, :levels]
        scores = at_least_fp32(self.weights(query)).view(shape)[:, :, :, :levels]
        return offsets, scores.flatten(3).softmax(-1).view_as(scores)


def sample_maps(
    values: Tensor, sizes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor
) -> Tensor:
    """Compute what `sample_table` does by `grid_sample`, for any device.

    Args:
        values: Cells, [B, N, d].
        sizes: (height, width) of each level in cells.
        places: (x, y) in cells, [B, Q, heads, L, points, 2].
        weights: [B, Q, heads, L, points].
    """
    batch, queries, heads = weights.shape[:3]
    parts = torch.split(values, [height * width for height, width in sizes], dim=1)
    read = values.new_zeros(batch * heads, values.shape[-1] // heads, queries)
    for level, ((height, width), part) in enumerate(zip(sizes, parts, strict=True)):
        maps = part.reshape(*part.shape[:2], heads, -1).permute(0, 2, 3, 1).flatten(0, 1)
        x, y = places[:, :, :, level].unbind(-1)
        where = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        sampled = F.grid_sample(
            maps.reshape(*maps.shape[:2], height, width),
            where.transpose(1, 2).flatten(0, 1).to(values.dtype),
            align_corners=False,
        )  # [B * heads, a, Q, points]
        share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1).to(values.dtype)
        read = read + (sampled * share[:, None]).sum(-1)
    return read.view(batch, -1, queries).transpose(1, 2)
