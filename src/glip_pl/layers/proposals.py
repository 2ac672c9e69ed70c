"""Proposals: the box that every cell of a pyramid starts from (Deformable DETR, Sec. A.4)."""

import torch
from torch import Tensor

from glip_pl.layers.multiscale import CellGrid

# Side of a proposal on the finest level, in fractions of the image; each level doubles it.
SIDE = 0.05
# A proposal nearer to the edge of the image, or so large, is none.
MARGIN = 0.01


def cell_proposals(grid: CellGrid) -> tuple[Tensor, Tensor]:
    """Propose a box around every cell, larger on coarser levels.

    Returns:
        Boxes (cx, cy, w, h) in fractions of the real image, [B, N, 4], and whether a cell proposes
        one at all, Boolean [B, N]: padded cells and those at the very edge do not.
    """
    centres = grid.centres()
    side = SIDE * torch.exp2(grid.levels())[:, None].expand(*centres.shape[:2], 2)
    boxes = torch.cat([centres, side.to(centres.dtype)], dim=-1)
    real = ((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(-1) & grid.mask
    return boxes, real
