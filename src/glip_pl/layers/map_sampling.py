"""Multi-scale sampling on any device: `grid_sample`, level by level."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Maps:
    """The cells of all levels for `grid_sample`, on any device: what `Table` is on a CPU.

    Attributes:
        values: [B, N, d], zero where padded.
        sizes: (height, width) of each level in cells.
        heads: Heads per cell.
    """

    values: Tensor
    sizes: tuple[tuple[int, int], ...]
    heads: int

    def pick(self, image: int) -> "Maps":
        """Return the maps of one image."""
        return Maps(self.values[image : image + 1], self.sizes, self.heads)

    def sample(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Read places [B, Q, P]; see `Table.sample`."""
        values, (batch, queries, _) = self.values, x.shape
        x, y, weights = (
            each.view(batch, queries, self.heads, len(self.sizes), -1) for each in (x, y, weights)
        )
        parts = torch.split(values, [height * width for height, width in self.sizes], dim=1)
        read = values.new_zeros(batch * self.heads, values.shape[-1] // self.heads, queries)
        for level, ((height, width), part) in enumerate(zip(self.sizes, parts, strict=True)):
            maps = part.reshape(*part.shape[:2], self.heads, -1).permute(0, 2, 3, 1).flatten(0, 1)
            fractions = (2 * x[:, :, :, level] + 1) / width, (2 * y[:, :, :, level] + 1) / height
            where = torch.stack(fractions, -1) - 1
            sampled = F.grid_sample(
                maps.reshape(*maps.shape[:2], height, width),
                where.transpose(1, 2).flatten(0, 1).to(values.dtype),
                align_corners=False,
            )  # [B * heads, a, Q, points]
            share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1).to(values.dtype)
            read = read + (sampled * share[:, None]).sum(-1)
        return read.view(batch, -1, queries).transpose(1, 2)
