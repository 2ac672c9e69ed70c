"""Detections held against the truth: which are right, by name."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glip_pl.boxes import box_iou
from glip_pl.metrics.coco_ap import original_boxes
from glip_pl.structures import Batch, Detections


@dataclass
class Judged:
    """All detections of one name.

    Attributes:
        scores: Of each, in no order.
        right: Whether each found a true box that no better one had.
        num_true: True boxes.
        absent: The best score in each image that does not show it; 0 where nothing was found.
    """

    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    num_true: int = 0
    absent: list[float] = field(default_factory=list)


def judge_detections(
    seen: Iterable[tuple[Batch, list[Detections]]], *, iou: float = 0.5
) -> dict[int, Judged]:
    """Hold the detections of many images against the truth.

    Args:
        seen: Batches with what was found in their images.
        iou: Overlap from which on a true box counts as found.

    Returns:
        What became of the detections of each category id. Those of crowds count neither way.
    """
    judged: dict[int, Judged] = defaultdict(Judged)
    for batch, detections in seen:
        for question, truth, found in zip(batch.questions, batch.known(), detections, strict=True):
            boxes = original_boxes(question, truth)
            for k, category in enumerate(question.phrase_ids.tolist()):
                of_class = found.select(found.phrases == k)
                shown = truth.shows[:, k]
                _judge_class(
                    judged[category],
                    of_class,
                    boxes[shown & ~truth.crowd],
                    boxes[shown & truth.crowd],
                    iou,
                )
    return dict(judged)


def _judge_class(
    judged: Judged, found: Detections, boxes: Tensor, crowds: Tensor, iou: float
) -> None:
    judged.num_true += len(boxes)
    if not len(boxes) and not len(crowds):
        judged.absent.append(float(found.scores.max()) if len(found.scores) else 0.0)
    order = found.scores.argsort(descending=True, stable=True)
    overlaps = box_iou(found.boxes[order], boxes)
    in_crowd = box_iou(found.boxes[order], crowds) if len(crowds) else None
    free = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for row, score in enumerate(found.scores[order].tolist()):
        candidates = overlaps[row].masked_fill(~free, -1.0)
        is_right = len(boxes) > 0 and float(candidates.max()) >= iou
        if is_right:
            free[candidates.argmax()] = False
        elif in_crowd is not None and float(in_crowd[row].max()) >= iou:
            continue
        judged.scores.append(score)
        judged.right.append(is_right)
