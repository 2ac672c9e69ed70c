"""How much boxes overlap, and dropping those that lie on a better one.

Boxes are xyxy. The results are those of ``torchvision.ops``, which is not imported: its package
loads all its networks and PyTorch's compiler, four seconds that detecting has no use for.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Up to so many numbers, boxes of all classes are compared at once, moved apart by class.
_AT_ONCE = {"cpu": 4_000}
_AT_ONCE_ELSEWHERE = 100_000


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
