"""Boxes: corners and centres, offsets from priors, overlap, and dropping duplicates.

Frame: xyxy float pixels of the padded input; pixel i spans [i, i + 1), so width = x2 - x1.
Official GLIP stores boxes with inclusive ends (width = x2 - x1 + 1). Adding one to its x2 and y2
gives this frame exactly: its anchors become squares centred on cells, and its coder, IoU and NMS
become the plain ones.

Overlap and suppression give what ``torchvision.ops`` gives, which is not imported: its package
loads all its networks and PyTorch's compiler, four seconds that detecting has no use for.
"""

import math
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Offsets are scaled so that each of the four has a similar spread, by Fast R-CNN's weights
# (10, 10, 5, 5).
CENTER_WEIGHT, SIZE_WEIGHT = 10.0, 5.0
# A size offset may enlarge its prior at most this many times: exp of it stays finite early in
# training.
MAX_LOG_RATIO = math.log(1000 / 16)
# Up to so many numbers, boxes of all classes are compared at once, moved apart by class.
_AT_ONCE = {"cpu": 4_000}
_AT_ONCE_ELSEWHERE = 100_000


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


def box_area(boxes: Tensor) -> Tensor:
    """Compute the areas [...] of boxes [..., 4]."""
    boxes = _wide(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Compute intersection over union of boxes [N, 4] and others [M, 4], [N, M]."""
    shared, union = _shared_and_union(boxes, others)
    return shared / union


def generalized_box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Compute GIoU of boxes [N, 4] and others [M, 4], [N, M], from -1 to 1.

    See https://arxiv.org/abs/1902.09630.
    """
    shared, union = _shared_and_union(boxes, others)
    start = torch.minimum(boxes[:, None, :2], others[None, :, :2])
    end = torch.maximum(boxes[:, None, 2:], others[None, :, 2:])
    around = _wide(end - start).clamp(min=0).prod(-1)
    return shared / union - (around - union) / around


def generalized_box_iou_loss(boxes: Tensor, others: Tensor, *, eps: float = 1e-7) -> Tensor:
    """Compute 1 - GIoU of pairs of boxes, [N, 4] each, [N]."""
    boxes, others = boxes.float(), others.float()
    start = torch.maximum(boxes[:, :2], others[:, :2])
    end = torch.minimum(boxes[:, 2:], others[:, 2:])
    # Boxes apart share nothing and learn nothing from it.
    meet = (end > start).all(-1)
    shared = torch.where(meet, (end - start).prod(-1), 0.0)
    union = box_area(boxes) + box_area(others) - shared
    corner = torch.minimum(boxes[:, :2], others[:, :2])
    around = (torch.maximum(boxes[:, 2:], others[:, 2:]) - corner).prod(-1)
    return 1 - shared / (union + eps) + (around - union) / (around + eps)


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Return which boxes [N, 4] have no better one that overlaps more than `iou`, best first."""
    kept: Tensor = _operators().nms(boxes, scores, iou)
    return kept


def batched_nms(boxes: Tensor, scores: Tensor, classes: Tensor, iou: float) -> Tensor:
    """Do as `nms` among boxes of one class each, [N]."""
    if boxes.numel() > _AT_ONCE.get(boxes.device.type, _AT_ONCE_ELSEWHERE):
        keep = torch.zeros_like(scores, dtype=torch.bool)
        for one in torch.unique(classes):  # type: ignore[no-untyped-call]
            (members,) = torch.where(classes == one)
            keep[members[nms(boxes[members], scores[members], iou)]] = True
        (kept,) = torch.where(keep)
        return kept[scores[kept].sort(descending=True).indices]
    if not len(boxes):
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    apart = classes.to(boxes) * (boxes.max() + 1)
    return nms(boxes + apart[:, None], scores, iou)


def _shared_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the areas that pairs of boxes share and cover, [N, M] each."""
    start = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    width, height = _wide(end - start).clamp(min=0).unbind(-1)
    shared = width * height
    return shared, box_area(boxes)[:, None] + box_area(others) - shared


def _wide(x: Tensor) -> Tensor:
    """Return numbers of which a product does not overflow."""
    if x.is_floating_point():
        return x if x.dtype in (torch.float32, torch.float64) else x.float()
    return x if x.dtype in (torch.int32, torch.int64) else x.int()


@cache
def _operators() -> Any:
    """Return torchvision's operators, from its library alone where that is found.

    Loading the library is all that the package does to have them. Its file was ``_C`` once and is
    ``_C_stable`` now; where there is neither, or it does not load, the package finds its own way.
    Loading it again, with the package, changes nothing.
    """
    package = find_spec("torchvision")
    folder = Path(package.origin).parent if package and package.origin else Path()
    for library in sorted(folder.glob("_C*.so")):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError:
            continue
    if not hasattr(torch.ops.torchvision, "nms"):
        import_module("torchvision")
    return torch.ops.torchvision
