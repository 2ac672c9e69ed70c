"""Boxes: corners and centres, and the offset that takes a prior to a box.

Frame: xyxy float pixels of the padded input; pixel i spans [i, i + 1), so width = x2 - x1.
Official GLIP stores boxes with inclusive ends (width = x2 - x1 + 1). Adding one to its x2 and y2
gives this frame exactly: its anchors become squares centred on cells, and its coder, IoU and NMS
become the plain ones.
"""

import math

import torch
from torch import Tensor

# Offsets are scaled so that each of the four has a similar spread, by Fast R-CNN's weights
# (10, 10, 5, 5).
CENTER_WEIGHT, SIZE_WEIGHT = 10.0, 5.0
# A size offset may enlarge its prior at most this many times: exp of it stays finite early in
# training.
MAX_LOG_RATIO = math.log(1000 / 16)


def to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn corners [..., 4] xyxy into centre and size [..., 4]."""
    corner, end = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(corner + end) / 2, end - corner], dim=-1)


def to_xyxy(boxes: Tensor) -> Tensor:
    """Turn centre and size [..., 4] into corners [..., 4] xyxy."""
    center, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def decode(priors: Tensor, offsets: Tensor) -> Tensor:
    """Move and scale priors by offsets.

    Args:
        priors: [..., 4] xyxy pixels.
        offsets: [..., 4]: centre shift in tenths of the prior's size, log size ratio in fifths.

    Returns:
        Boxes [..., 4], xyxy pixels, not clipped.
    """
    center, size = torch.split(to_cxcywh(priors), 2, dim=-1)
    shift = offsets[..., :2] / CENTER_WEIGHT
    log_ratio = (offsets[..., 2:] / SIZE_WEIGHT).clamp(max=MAX_LOG_RATIO)
    return to_xyxy(torch.cat([center + shift * size, size * log_ratio.exp()], dim=-1))


def inclusive(boxes: Tensor) -> Tensor:
    """Return boxes [..., 4] with the ends of official GLIP: one less on the right and below."""
    return boxes - boxes.new_tensor([0.0, 0.0, 1.0, 1.0])


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip boxes [..., 4] to an image of (height, width) pixels; each keeps a pixel at least."""
    height, width = size
    least = boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    most = boxes.new_tensor([width - 1, height - 1, width, height])
    return boxes.maximum(least).minimum(most)


def rescale(boxes: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Carry boxes [..., 4] from an image of (height, width) pixels to that image at a new size."""
    y, x = new_size[0] / size[0], new_size[1] / size[1]
    return boxes * boxes.new_tensor([x, y, x, y])
