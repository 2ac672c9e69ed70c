"""Small objects in large images: windows of an image, and the boxes of all windows as one list."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glip_pl.boxes import box_area
from glip_pl.structures import Detections

Window = tuple[int, int, int, int]  # (top, left, bottom, right) in pixels.

# A box that lies in another of its name to this part is a piece of it that a window cut off.
_PIECE = 0.8


def windows(size: tuple[int, int], tile: int, overlap: float) -> list[Window]:
    """Cover an image with square windows, the whole image first.

    Args:
        size: (height, width) of the image.
        tile: Side of a window in pixels.
        overlap: Least part of its side that a window shares with the next.
    """
    rows, columns = (_starts(side, tile, overlap) for side in size)
    whole = (0, 0, *size)
    cut = [
        (top, left, min(top + tile, size[0]), min(left + tile, size[1]))
        for top in rows
        for left in columns
    ]
    return [whole, *(window for window in cut if window != whole)]


def merge(parts: Sequence[Detections], places: Sequence[Window], nms_iou: float) -> Detections:
    """Join the detections of the windows of one image, best first, in pixels of the image.

    Of two boxes of one phrase the lower goes where they overlap by more than `nms_iou`, or where
    one is a piece of the other.
    """
    joined = Detections(
        torch.cat(
            [
                part.boxes + part.boxes.new_tensor([left, top, left, top])
                for part, (top, left, *_) in zip(parts, places, strict=True)
            ]
        ),
        torch.cat([part.scores for part in parts]),
        torch.cat([part.phrases for part in parts]),
    )
    order = joined.scores.argsort(descending=True, stable=True)
    joined = joined.select(order)
    alike = _overlap(joined.boxes, nms_iou) & (joined.phrases[:, None] == joined.phrases)
    kept = torch.ones(len(order), dtype=torch.bool)
    for k in range(len(order)):
        if kept[k]:
            kept[k + 1 :] &= ~alike[k, k + 1 :]
    return joined.select(kept)


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    """Spread windows evenly over a side."""
    if side <= tile:
        return [0]
    count = -(-(side - tile) // max(1, int(tile * (1 - overlap)))) + 1
    return [round(k * (side - tile) / (count - 1)) for k in range(count)]


def _overlap(boxes: Tensor, nms_iou: float) -> Tensor:
    """Whether each pair of boxes shows one thing, [D, D]."""
    corner = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    sides = (torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner).clamp(min=0)
    shared, area = sides.prod(-1), box_area(boxes)
    union = (area[:, None] + area - shared).clamp(min=1e-6)
    smaller = torch.minimum(area[:, None], area).clamp(min=1e-6)
    alike: Tensor = (shared / union > nms_iou) | (shared / smaller > _PIECE)
    return alike
