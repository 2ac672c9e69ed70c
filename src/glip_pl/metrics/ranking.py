"""Detections of one class held against its true boxes, ready to be counted under many weightings.

COCO's AP and LVIS's differ in what counts: LVIS judges a class only in the images that were
labelled for it, forgives stray detections where its boxes are incomplete, and limits how many
detections are kept in other ways. An `EvaluationProtocol` says how one of them does it.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class EvaluationProtocol:
    """What one metric counts.

    Attributes:
        ious: [T], the overlaps from which on a true box counts as found.
        recalls: [R], the recalls at which precision is read.
        max_per_image: Detections of a class that count in one image; None for all.
        max_per_class: Detections of a class that count over all images; None for all.
    """

    ious: np.ndarray
    recalls: np.ndarray
    max_per_image: int | None = None
    max_per_class: int | None = None


# As torchmetrics hands them on, which are not quite 0.55 or 0.07: a recall of 7 in 100 turns on it.
COCO = EvaluationProtocol(
    np.array(torch.linspace(0.5, 0.95, 10).tolist()),
    np.array(torch.linspace(0.0, 1.0, 101).tolist()),
    max_per_image=100,
)
LVIS = EvaluationProtocol(np.linspace(0.5, 0.95, 10), np.linspace(0.0, 1.0, 101))


@dataclass(frozen=True)
class Found:
    """Detections of one class.

    Attributes:
        image: [n], position of the image.
        boxes: [n, 4], xyxy pixels.
        scores: [n].
    """

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Truth:
    """True boxes of one class.

    Attributes:
        image: [n], position of the image.
        boxes: [n, 4], xyxy pixels.
        crowd: Boolean [n], True for a box around many objects.
        labelled: Boolean [I], True for images that were searched for the class; None for all.
        incomplete: Boolean [I], True for images with objects of the class that have no box; None
            for none.
    """

    image: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray
    labelled: np.ndarray | None = None
    incomplete: np.ndarray | None = None


@dataclass(frozen=True)
class Ranking:
    """Detections of one class over all images, best first, and what became of each.

    Attributes:
        image: [n], position of the image.
        hits: Boolean [T, n], True where a detection found a true box, per IoU of the protocol.
        ignored: Boolean [T, n], True where it counts neither way.
        num_true: [I], true boxes per image, without crowds.
        protocol: What it was ranked for.
    """

    image: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    num_true: np.ndarray
    protocol: EvaluationProtocol


def rank(
    found: Found, truth: Truth, num_images: int, protocol: EvaluationProtocol = COCO
) -> Ranking:
    """Hold the detections of a class against its true boxes, image by image.

    Args:
        found: In any order; equal scores of an image stay in theirs.
        truth: In any order.
        num_images: All images, whether this class is in them or not.
        protocol: What counts.
    """
    order = np.lexsort((-found.scores, found.image))  # Stable: by image, then best first.
    if protocol.max_per_image is not None:
        starts = np.searchsorted(found.image[order], np.arange(num_images + 1))
        place = np.arange(len(order)) - starts[found.image[order]]
        order = order[place < protocol.max_per_image]
    image, boxes, scores = found.image[order], found.boxes[order], found.scores[order]
    hits = np.zeros((len(protocol.ious), len(order)), dtype=bool)
    ignored = np.zeros_like(hits)
    by_image = np.argsort(truth.image, kind="stable")
    true_image = truth.image[by_image]
    for i in np.intersect1d(image, true_image):
        first, end = np.searchsorted(image, [i, i + 1])
        rows = by_image[slice(*np.searchsorted(true_image, [i, i + 1]))]
        matched = _match(boxes[first:end], truth.boxes[rows], truth.crowd[rows], protocol.ious)
        hits[:, first:end], ignored[:, first:end] = matched
    if truth.labelled is not None:
        ignored |= ~truth.labelled[image]
    if truth.incomplete is not None:
        ignored |= ~hits & truth.incomplete[image]
    best_first = np.argsort(-scores, kind="stable")
    # Nothing behind the last hit changes a precision that counts.
    found_any = np.any(hits, axis=0)[best_first]
    best_first = best_first[: _last(found_any) + 1]
    return Ranking(
        image[best_first],
        hits[:, best_first],
        ignored[:, best_first],
        np.bincount(truth.image[~truth.crowd], minlength=num_images),
        protocol,
    )


def _match(
    boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray, ious: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return hits and ignored, Boolean [T, D], of the detections of one image, best first."""
    iou = _overlap(boxes, truth, crowd)
    hits = np.zeros((len(ious), len(boxes)), dtype=bool)
    ignored = np.zeros_like(hits)
    free = np.broadcast_to(~crowd, (len(ious), len(truth))).copy()
    for d in (iou.max(1) >= ious[0]).nonzero()[0]:
        close = iou[d] >= ious[:, None]  # [T, G]
        candidates = np.where(close & free, iou[d], -1.0)
        # Of equal overlaps the last, as COCO's loop takes it.
        chosen = len(truth) - 1 - candidates[:, ::-1].argmax(1)
        hits[:, d] = candidates.max(1) >= 0
        free[hits[:, d], chosen[hits[:, d]]] = False
        ignored[:, d] = ~hits[:, d] & (close & crowd).any(1)
    return hits, ignored


def _overlap(boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU [D, G]; with a crowd, the share of the detection that lies in it."""
    corner = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = (end - corner).clip(0).prod(2)
    own, other = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, truth))
    union = np.where(crowd, own[:, None], own[:, None] + other - shared)
    share: np.ndarray = shared / np.maximum(union, 1e-12)
    return share


def _last(mask: np.ndarray) -> int:
    """Position of the last True; -1 without any."""
    return int(mask.nonzero()[0].max(initial=-1))
