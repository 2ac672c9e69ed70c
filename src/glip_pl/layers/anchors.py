"""Anchors: one square prior per cell of every pyramid level (ATSS, https://arxiv.org/abs/1912.02424)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glip_pl.boxes import to_xyxy


def cell_anchors(levels: Sequence[Tensor], strides: Sequence[int], scale: float = 8.0) -> Tensor:
    """Centre a square of ``scale * stride`` pixels on every cell, row by row, finest level first.

    Args:
        levels: Feature maps, each [B, d, H_l, W_l]; only their sizes matter.
        strides: Pixels per cell of each level.
        scale: Side of an anchor in cells; GLIP has 8, that is 64 pixels at stride 8.

    Returns:
        Anchors [N, 4], xyxy pixels of the padded input.
    """
    anchors = []
    for level, stride in zip(levels, strides, strict=True):
        height, width = level.shape[-2:]
        y, x = torch.meshgrid(
            torch.arange(height, device=level.device),
            torch.arange(width, device=level.device),
            indexing="ij",
        )
        centers = (torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5) * stride
        anchors.append(
            to_xyxy(torch.cat([centers, torch.full_like(centers, scale * stride)], dim=-1))
        )
    return torch.cat(anchors)
