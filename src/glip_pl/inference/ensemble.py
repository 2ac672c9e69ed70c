"""Several ways to ask for the same things, joined: what most of them find is found."""

from collections.abc import Sequence

import torch

from glip_pl.boxes import batched_nms, box_iou
from glip_pl.inference.postprocess import PostProcess
from glip_pl.structures import Detections

_SAME = 0.7


def join_prompts(found: Sequence[Detections], postprocess: PostProcess) -> Detections:
    """Join what several prompts found in one image; the same index is the same name in all.

    A box keeps its place and gets the mean of the scores that all prompts give to the best box of
    its name there; a prompt that has none gives 0.

    Args:
        found: Of each prompt.
        postprocess: How duplicates are removed and how many boxes are kept.
    """
    boxes = torch.cat([f.boxes for f in found])
    phrases = torch.cat([f.phrases for f in found])
    own = torch.cat([f.scores for f in found])
    mean = torch.zeros_like(own)
    for of in found:
        if len(of.scores):
            there = (box_iou(boxes, of.boxes) >= _SAME) & (phrases[:, None] == of.phrases)
            mean += torch.where(there, of.scores, 0.0).amax(1) / len(found)
    # Of equal means the box that its own prompt is surest of.
    order = (mean + 1e-6 * own).argsort(descending=True, stable=True)
    joined = Detections(boxes, mean, phrases).select(order)
    keep = batched_nms(joined.boxes, joined.scores, joined.phrases, postprocess.nms_iou)
    return joined.select(keep[: postprocess.max_detections])
