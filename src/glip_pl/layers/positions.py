"""Where things are, as vectors: sines of positions in the image.

Positions are fractions of the *real* image, the part without padding: 0 is its left or top edge and
1 its right or bottom edge. So padding moves nothing, a point has the same position on every pyramid
level, and cells and boxes speak one language. Masks are True where real, and padding lies at the
bottom and on the right.
"""

import math

import torch
from torch import Tensor

# DETR's 10,000 is made for sentences; for one image DAB-DETR tuned the temperature to 20.
TEMPERATURE = 20.0
# DETR's, for boxes and for the places of words.
SLOW = 10_000.0


def real_size(mask: Tensor) -> Tensor:
    """Measure each image inside its padding.

    Args:
        mask: [B, H, W] over the padded input.

    Returns:
        (width, height) in pixels, [B, 2], float.
    """
    return torch.stack([mask.any(1).sum(-1), mask.any(2).sum(-1)], dim=-1).float()


def cell_mask(mask: Tensor, stride: int) -> Tensor:
    """Return which cells of a level hold at least one real pixel.

    Args:
        mask: [B, H, W] over the padded input.
        stride: Pixels per cell.

    Returns:
        Boolean [B, ⌈H / stride⌉, ⌈W / stride⌉].
    """
    # Padding starts from the right and the bottom, so a cell's first pixel decides.
    return mask[:, ::stride, ::stride]


def cell_centres(mask: Tensor, stride: int) -> Tensor:
    """Locate the cells of a level; of a cell across the edge, the real part counts.

    Args:
        mask: [B, H, W] over the padded input.
        stride: Pixels per cell.

    Returns:
        (x, y) as fractions of the real image, [B, ⌈H / stride⌉, ⌈W / stride⌉, 2]. They mean nothing
        in cells that are padding.
    """
    width, height = real_size(mask).unbind(-1)
    x = _centres(mask.shape[2], stride, width)
    y = _centres(mask.shape[1], stride, height)
    shape = (mask.shape[0], y.shape[1], x.shape[1])
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)


def _centres(length: int, stride: int, real: Tensor) -> Tensor:
    """Centres along one axis, [B, cells]."""
    start = torch.arange(0, length, stride, device=real.device).float()
    end = torch.minimum(start + stride, real[:, None])
    return (start + end) / (2 * real[:, None])


def sine_embedding(positions: Tensor, width: int) -> Tensor:
    """Write every coordinate as sines and cosines of falling frequency.

    The fastest wave has one period per image, the slowest 1 / `TEMPERATURE`. See DETR, Sec. A.4
    (https://arxiv.org/abs/2005.12872), and for boxes DAB-DETR, Sec. 4
    (https://arxiv.org/abs/2201.12329).

    Args:
        positions: k coordinates as fractions of the real image, [..., k]: points, boxes or sizes.
        width: Numbers per coordinate, even.

    Returns:
        [..., k * width], the coordinates one after the other.
    """
    exponent = torch.arange(0, width, 2, device=positions.device) / width
    angles = positions[..., None] * (2 * math.pi / TEMPERATURE**exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def interleaved_sines(positions: Tensor, width: int, temperature: float) -> Tensor:
    """Write every coordinate as pairs of sine and cosine, y before x, as Grounding DINO does.

    The numbers are those of `sine_embedding` but for order and temperature, which published weights
    depend on.

    Args:
        positions: k coordinates, [..., k], x before y.
        width: Numbers per coordinate, even.
        temperature: The slowest wave has one period in so many units.

    Returns:
        [..., k * width], the second coordinate first.
    """
    exponent = torch.arange(0, width, 2, device=positions.device) / width
    angles = positions[..., None] * (2 * math.pi / temperature**exponent)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    if positions.shape[-1] > 1:
        # Cut and joined: a list of places would be copied to a GPU, which would wait for it.
        x, y, others = waves[..., :1, :], waves[..., 1:2, :], waves[..., 2:, :]
        waves = torch.cat([y, x, others], dim=-2)
    return waves.flatten(-2)
