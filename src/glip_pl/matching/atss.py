"""ATSS: which anchor takes which box (https://arxiv.org/abs/1912.02424, Sec. 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glip_pl.boxes import box_iou, to_cxcywh
from glip_pl.matching.matcher import Matcher, Objects, Regions


class ATSSMatcher(Matcher):
    """Match cells with anchors by `atss`; boxes predicted from the middle of an object count more.

    Args:
        num_candidates: Candidates per pyramid level and box.
    """

    def __init__(self, num_candidates: int = 9) -> None:
        self.num_candidates = num_candidates

    def match(self, regions: Regions, objects: Objects) -> Tensor:
        """See `Matcher`."""
        return atss(
            *(regions.priors, regions.level_sizes, objects.boxes),
            num_candidates=self.num_candidates,
            margin=0.01 + objects.inset,
        )

    def centerness(self, priors: Tensor, predicted: Tensor, boxes: Tensor) -> Tensor:
        """See `centerness_target`."""
        return centerness_target(priors, boxes)

    def weights(self, centerness: Tensor) -> Tensor:
        """Weigh a box by how central its anchor is, [P], as in GLIP and FCOS."""
        return centerness


@torch.no_grad()
def atss(
    anchors: Tensor,
    level_sizes: Sequence[int],
    boxes: Tensor,
    *,
    num_candidates: int = 9,
    margin: float = 0.01,
) -> Tensor:
    """Assign boxes to anchors by a threshold that adapts to each box.

    For each box, the nearest anchors of every level are candidates; those whose IoU reaches the
    mean plus one standard deviation of the candidates' IoUs, and whose centre lies inside the box,
    take it.

    Args:
        anchors: [N, 4], xyxy pixels.
        level_sizes: Anchors per level; they sum to N.
        boxes: [G, 4], xyxy pixels; G may be 0.
        num_candidates: Candidates per level and box.
        margin: Pixels by which the centre must lie inside the box on every side.

    Returns:
        Matching [N]: the index of the box that each anchor takes, -1 for none. An anchor that
        several boxes want takes the one that it overlaps most.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, device=anchors.device)
    iou = box_iou(anchors, boxes)  # [N, G]
    centers = to_cxcywh(anchors)[:, :2]
    distance = torch.cdist(centers, to_cxcywh(boxes)[:, :2])
    candidates, start = [], 0
    for size in level_sizes:
        near = distance[start : start + size].topk(min(num_candidates, size), dim=0, largest=False)
        candidates.append(near.indices + start)
        start += size
    index = torch.cat(candidates)  # [C, G]
    candidate_iou = iou.gather(0, index)
    # With one candidate alone the unbiased deviation is undefined; then any overlap will do.
    deviation = candidate_iou.std(0) if len(index) > 1 else torch.zeros_like(candidate_iou[0])
    threshold = candidate_iou.mean(0) + deviation

    place = centers[index]  # [C, G, 2]
    inside = torch.cat([place - boxes[:, :2], boxes[:, 2:] - place], dim=-1).amin(-1) > margin
    wanted = torch.zeros_like(iou, dtype=torch.bool)
    wanted.scatter_(0, index, (candidate_iou >= threshold) & inside)
    best, matching = torch.where(wanted, iou, -1.0).max(1)
    return torch.where(best >= 0, matching, -1)


def centerness_target(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Compute how central an anchor lies in its box (FCOS, arXiv 1904.01355, Eq. 3).

    Args:
        anchors: [P, 4], xyxy pixels; their centres lie inside the boxes.
        boxes: [P, 4], xyxy pixels.

    Returns:
        [P] in [0, 1].
    """
    center = to_cxcywh(anchors)[:, :2]
    before, after = center - boxes[:, :2], boxes[:, 2:] - center
    ratio = torch.minimum(before, after) / torch.maximum(before, after).clamp(min=1e-6)
    return ratio.clamp(min=0).prod(-1).sqrt()
