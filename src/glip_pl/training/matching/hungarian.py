"""Hungarian matching: one region per box, by the cheapest assignment of all.

For regions that are a set rather than cells with anchors. See DETR, Sec. 3.1
(https://arxiv.org/abs/2005.12872).
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou

from glip_pl.boxes import to_cxcywh

# Of the focal loss, Lin et al. (https://arxiv.org/abs/1708.02002).
ALPHA, GAMMA = 0.25, 2.0


class HungarianMatcher:
    """Pair regions with boxes so that the total cost is least.

    Args:
        token_cost: Weight of the alignment cost.
        l1_cost: Weight of the L1 distance of (cx, cy, w, h) in fractions of the image.
        giou_cost: Weight of -GIoU.
    """

    def __init__(
        self, *, token_cost: float = 2.0, l1_cost: float = 5.0, giou_cost: float = 2.0
    ) -> None:
        self.token_cost = token_cost
        self.l1_cost = l1_cost
        self.giou_cost = giou_cost

    @torch.no_grad()
    def __call__(
        self,
        logits: Tensor,
        boxes: Tensor,
        target_boxes: Tensor,
        target_tokens: Tensor,
        size: tuple[int, int],
    ) -> Tensor:
        """Match the regions of one image.

        Args:
            logits: Alignment scores before the sigmoid, [N, M].
            boxes: Predicted, [N, 4], xyxy pixels.
            target_boxes: [G, 4], xyxy pixels.
            target_tokens: Boolean [G, M], True where box g should align with token m.
            size: (height, width) of the image in pixels.

        Returns:
            The box that each region takes, [N], -1 for none. With more boxes than regions, the
            costly ones are left out.

        Raises:
            RuntimeError: A cost is not finite.
        """
        matching = torch.full((len(logits),), -1, dtype=torch.long, device=logits.device)
        if not len(target_boxes):
            return matching
        with torch.autocast(logits.device.type, enabled=False):
            cost = (
                self.token_cost * _token_cost(logits.float(), target_tokens)
                + self.l1_cost * _l1_cost(boxes.float(), target_boxes.float(), size)
                - self.giou_cost * generalized_box_iou(boxes.float(), target_boxes.float())
            ).cpu()
        if not cost.isfinite().all():
            raise RuntimeError(
                f"{int((~cost.isfinite()).sum())} of {cost.numel()} matching costs are not finite: "
                "training has diverged; lower the learning rate or set trainer.gradient_clip_val"
            )
        regions, taken = (torch.from_numpy(ids) for ids in linear_sum_assignment(cost.numpy()))
        matching[regions.to(matching.device)] = taken.to(matching.device)
        return matching


def _token_cost(logits: Tensor, target_tokens: Tensor) -> Tensor:
    """Focal loss of taking a box less that of not, averaged over the box's tokens, [N, G]."""
    used = target_tokens.any(0)  # Masked tokens may carry -inf, which a zero weight cannot hide.
    logits, share = logits[:, used], target_tokens[:, used].float()
    p = logits.sigmoid()
    positive = ALPHA * (1 - p) ** GAMMA * F.softplus(-logits)
    negative = (1 - ALPHA) * p**GAMMA * F.softplus(logits)
    return (positive - negative) @ (share / share.sum(1, keepdim=True).clamp(min=1)).T


def _l1_cost(boxes: Tensor, target_boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """L1 distance of (cx, cy, w, h) in fractions of the image, [N, G]."""
    scale = boxes.new_tensor([size[1], size[0]] * 2)
    return torch.cdist(
        to_cxcywh(boxes) / scale,
        to_cxcywh(target_boxes) / scale,
        p=1,
    )
