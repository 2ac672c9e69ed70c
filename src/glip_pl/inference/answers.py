"""From phrases to answers: several phrases for one name, and phrases that only keep others off.

"sofa | couch" asks for one thing by two phrases, of which the better counts. What must not be taken
for something that is asked, "mirror", is asked as well, and its boxes are not shown.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glip_pl.boxes import batched_nms, box_iou
from glip_pl.structures import Detections

_SAME_THING = 0.5


def settle(found: Detections, answers: Sequence[int], *, nms_iou: float = 0.6) -> Detections:
    """Turn detections of phrases into those of names.

    Args:
        found: Best first; `phrases` point into `answers`.
        answers: Per phrase the position of the name's first phrase, -1 for a phrase that is not
            wanted; empty where every phrase stands for itself.
        nms_iou: Of two boxes of one name that overlap more, the lower is dropped.

    Returns:
        Detections that point at first phrases. A box with a better one of an unwanted phrase on the
        same thing is gone.
    """
    if not len(answers):
        return found
    named = torch.tensor(list(answers), device=found.phrases.device)[found.phrases]
    wanted, unwanted = found.select(named >= 0), found.select(named < 0)
    names = named[named >= 0]
    if len(unwanted.scores) and len(wanted.scores):
        better = unwanted.scores > wanted.scores[:, None]
        on_it = box_iou(wanted.boxes, unwanted.boxes) > _SAME_THING
        kept = ~(better & on_it).any(1)
        wanted, names = wanted.select(kept), names[kept]
    keep = batched_nms(wanted.boxes, wanted.scores, names, nms_iou)
    return Detections(wanted.boxes[keep], wanted.scores[keep], names[keep])


def absence_scores(found: Detections, count: int) -> Tensor:
    """How sure it is that the image shows none of each of `count` phrases: 1 - best score, [count].

    Nothing found is an absence of 1. Calibrated scores make it a probability.
    """
    best = found.scores.new_zeros(count)
    return 1 - best.scatter_reduce(0, found.phrases, found.scores, "amax")
