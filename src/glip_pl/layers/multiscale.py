"""Multi-scale deformable attention: every query reads a few places on every pyramid level.

See Deformable DETR, Sec. 4.1 (https://arxiv.org/abs/2010.04159). Places are fractions of the real
image (see `glip_pl.layers.positions`), so padding moves none of them. On a CPU all places of all
levels are read at once from a table (`glip_pl.layers.table_sampling`), elsewhere level by level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glip_pl.layers.device import all_real, on_cpu
from glip_pl.layers.linear import linear, project
from glip_pl.layers.map_sampling import Maps
from glip_pl.layers.positions import cell_mask
from glip_pl.layers.precision import at_least_fp32
from glip_pl.layers.table_layout import Layout
from glip_pl.layers.table_sampling import Table
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

    def real_sizes(self) -> list[list[tuple[int, int]]] | None:
        """Count the real part of each level of each image in cells; None where nothing is padding.

        A GPU would wait.
        """
        if self.whole:
            return None
        return [[(int(h), int(w)) for w, h in image] for image in self.extent.tolist()]

    def without_padding(self, values: Tensor) -> Tensor:
        """Put zeros where values [B, N, d] are padding."""
        return values if self.whole else values.masked_fill(~self.mask[..., None], 0.0)

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
        return self.read(query, reference, self.prepare(cells, grid))

    def prepare(self, cells: Tensor, grid: CellGrid) -> "Scene":
        """Do what is the same for all queries of some cells [B, N, d_model]; see `forward`."""
        values, levels = linear(self.value, cells), len(grid.sizes)
        extent = grid.extent[:, None, None, :, None].expand(
            -1, -1, self.num_heads, -1, self.num_points, -1
        )
        if on_cpu(values) and not torch.compiler.is_compiling():
            layout = Layout.of(grid.sizes, self.num_heads, self.num_points)
            maps: Table | Maps = Table.of(values, layout, grid.real_sizes())
        else:
            maps = Maps(grid.without_padding(values), grid.sizes, self.num_heads)
        return Scene(maps, extent.flatten(2, 4).unbind(-1), *self._projection(levels))

    def read(self, query: Tensor, reference: Tensor, scene: "Scene") -> Tensor:
        """Read a scene for every query [B, Q, d_model], to the same; see `forward`."""
        looks = at_least_fp32(project(query, scene.weight, scene.bias))
        x, y, scores = looks.chunk(3, -1)
        placed = []
        for axis, offsets in enumerate((x, y)):
            extent, centre = scene.extent[axis], reference[..., axis : axis + 1]
            if reference.shape[-1] == 4:
                side = reference[..., axis + 2 : axis + 3]
                offsets = offsets * (side * extent * (0.5 / self.num_points))
            placed.append(torch.addcmul(offsets, centre, extent).sub_(0.5))
        of_heads = scores.reshape(*scores.shape[:2], self.num_heads, -1)
        weights = of_heads.softmax(-1).flatten(2)
        return linear(self.out, scene.maps.sample(placed[0], placed[1], weights))

    def _projection(self, levels: int) -> tuple[Tensor, Tensor]:
        """Put the layers for x, y and scores of these levels one below the other, [3 P, d]."""
        places = self.num_heads, self.num_levels, self.num_points
        weight, bias = (
            torch.cat(
                [
                    offsets.view(*places, 2, -1)[:, :levels].movedim(3, 0).flatten(0, 3),
                    scores.view(*places, -1)[:, :levels].flatten(0, 2),
                ]
            )
            for offsets, scores in (
                (self.offsets.weight, self.weights.weight),
                (self.offsets.bias, self.weights.bias),
            )
        )
        return weight, bias.flatten()


@dataclass(frozen=True)
class Scene:
    """What queries read, and how they are turned into P = heads * L * points places and weights.

    Attributes:
        maps: The projected cells.
        extent: Width and height of the real part of the level of each place, each [B, 1, P].
        weight: Query to x, y and score of each place, [3 P, d_model].
        bias: Likewise, [3 P].
    """

    maps: Table | Maps
    extent: tuple[Tensor, ...]
    weight: Tensor
    bias: Tensor

    def pick(self, image: int) -> "Scene":
        """Return the scene of one image of the batch."""
        one = slice(image, image + 1)
        extent = tuple(x[one] for x in self.extent)
        return Scene(self.maps.pick(image), extent, self.weight, self.bias)
