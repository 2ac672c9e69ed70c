"""A pyramid as one list of cells, and back."""

from collections.abc import Sequence

import torch
from torch import Tensor


def flatten(levels: Sequence[Tensor]) -> tuple[Tensor, tuple[int, ...]]:
    """Join maps [B, d, H_l, W_l] into cells [B, N, d], finest level first, row by row.

    Returns:
        The cells and how many of them each level holds.
    """
    cells = [level.flatten(2).transpose(1, 2) for level in levels]
    return torch.cat(cells, dim=1), tuple(level.shape[1] for level in cells)


def unflatten(cells: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Split cells [B, N, d] into maps of the sizes of `like`."""
    sizes = [level.shape[-2:] for level in like]
    parts = torch.split(cells, [height * width for height, width in sizes], dim=1)
    # Cut before the channels move: cut after it, a batch of one gets strides that convolutions and
    # norms do not take for channels last, and they copy the map.
    return tuple(
        torch.unflatten(part, 1, size).permute(0, 3, 1, 2)
        for part, size in zip(parts, sizes, strict=True)
    )
