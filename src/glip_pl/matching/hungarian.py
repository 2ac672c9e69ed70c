"""Hungarian matching: one region per box, by the cheapest assignment of all.

For regions that are a set rather than cells with anchors. See DETR, Sec. 3.1
(https://arxiv.org/abs/2005.12872).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from glip_pl.boxes import box_iou, generalized_box_iou, to_cxcywh
from glip_pl.matching.matcher import Matcher, Objects, Regions

# Of the focal loss, Lin et al. (https://arxiv.org/abs/1708.02002).
ALPHA, GAMMA = 0.25, 2.0
# The cost of a pair that cannot be judged.
_NEVER = 1e9


class HungarianMatcher(Matcher):
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
    def match(self, regions: Regions, objects: Objects) -> Tensor:
        """Pair the regions of one image with its boxes.

        Returns:
            The box that each region takes, [N], -1 for none. With more boxes than regions, the
            costly ones are left out.
        """
        # Prediction makes a plugin's matcher importable, but never needs SciPy.
        from scipy.optimize import linear_sum_assignment

        device = regions.logits.device
        matching = torch.full((len(regions.logits),), -1, dtype=torch.long, device=device)
        if not len(objects.boxes):
            return matching
        with torch.autocast(device.type, enabled=False):
            boxes, truth = regions.boxes.float(), objects.boxes.float()
            cost = (
                self.token_cost * _token_cost(regions.logits.float(), objects.tokens)
                + self.l1_cost * _l1_cost(boxes, truth, objects.size)
                - self.giou_cost * generalized_box_iou(boxes, truth)
            ).cpu()
        # A region whose numbers are not finite takes a box only where no other can; its loss is not
        # finite either, and the step is skipped by all processes together.
        cost = torch.nan_to_num(cost, nan=_NEVER, posinf=_NEVER, neginf=_NEVER).clamp(max=_NEVER)
        rows, taken = (torch.from_numpy(ids) for ids in linear_sum_assignment(cost.numpy()))
        matching[rows.to(device)] = taken.to(device)
        return matching

    def centerness(self, priors: Tensor, predicted: Tensor, boxes: Tensor) -> Tensor:
        """Compute the IoU of prediction and box, [P].

        A query has no place of its own: how well it fits takes the role of how central it is.
        """
        overlap: Tensor = box_iou(predicted.detach(), boxes)
        return overlap.diagonal()


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
