"""Paired bootstrap: does a difference of two scores stay with other images of the same kind.

Images are drawn with replacement, and both models are judged on every draw. Detections are held
against the truth once; a draw is then a *weight* per image, how often it was drawn, so that 1,000
draws of AP are sums along one ranking per class. See Efron and Tibshirani, An Introduction to the
Bootstrap, Ch. 13 (percentile intervals). It speaks of the choice of images, not of training seeds.
"""

from dataclasses import dataclass

import numpy as np
import torch

# As DetectionAP has them, which are not quite 0.55 or 0.07: a recall of 7 in 100 turns on it.
IOUS = np.array(torch.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.array(torch.linspace(0.0, 1.0, 101).tolist())
MAX_DETECTIONS = 100  # Of an image and class.
# Numbers held at once: draws of a long ranking are taken in several goes.
_ROOM = 4_000_000


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
    """

    image: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class Ranking:
    """Detections of one class over all images, best first, and what became of each.

    Attributes:
        image: [n], position of the image.
        hits: Boolean [10, n], True where a detection found a true box, per IoU of `IOUS`.
        ignored: Boolean [10, n], True where it found a crowd, and counts neither way.
        num_true: [I], true boxes per image, without crowds.
    """

    image: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    num_true: np.ndarray


def draws(num_images: int, samples: int, *, seed: int = 0) -> np.ndarray:
    """Draw images with replacement; give how often each was drawn, [samples, num_images]."""
    chances = np.full(num_images, 1 / num_images)
    drawn = np.random.default_rng(seed).multinomial(num_images, chances, size=samples)
    return drawn.astype(np.float32)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Give the percentile interval of draws [S]; those that are nan were of no such object."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rank(found: Found, truth: Truth, num_images: int) -> Ranking:
    """Hold the detections of a class against its true boxes, image by image, as COCO does.

    Args:
        found: In any order; equal scores of an image stay in theirs.
        truth: In any order.
        num_images: All images, whether this class is in them or not.
    """
    order = np.lexsort((-found.scores, found.image))  # Stable: by image, then best first.
    starts = np.searchsorted(found.image[order], np.arange(num_images + 1))
    place = np.arange(len(order)) - starts[found.image[order]]
    order = order[place < MAX_DETECTIONS]
    image, boxes, scores = found.image[order], found.boxes[order], found.scores[order]
    hits = np.zeros((len(IOUS), len(order)), dtype=bool)
    ignored = np.zeros_like(hits)
    by_image = np.argsort(truth.image, kind="stable")
    for i in np.intersect1d(image, truth.image):
        first, end = np.searchsorted(image, [i, i + 1])
        begin, stop = np.searchsorted(truth.image[by_image], [i, i + 1])
        rows = by_image[begin:stop]
        matched = _match(boxes[first:end], truth.boxes[rows], truth.crowd[rows])
        hits[:, first:end], ignored[:, first:end] = matched
    best_first = np.argsort(-scores, kind="stable")
    # Nothing behind the last hit changes a precision that counts.
    found_any = np.any(hits, axis=0)[best_first]
    best_first = best_first[: _last(found_any) + 1]
    return Ranking(
        image[best_first],
        hits[:, best_first],
        ignored[:, best_first],
        np.bincount(truth.image[~truth.crowd], minlength=num_images),
    )


def average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """AP of one class, for many weightings of the images at once.

    An image of weight 2 counts like two equal images; with all weights 1 this is COCO's AP.

    Args:
        ranking: What `rank` gave.
        weights: [S, I], whole numbers.

    Returns:
        [S, 10], AP per IoU of `IOUS`; nan where a weighting leaves no true box.
    """
    num_true = weights @ ranking.num_true.astype(np.float64)
    together = max(_ROOM // max(len(ranking.image), 1), 1)
    parts = [
        _precision(ranking, weights[start : start + together], num_true[start : start + together])
        for start in range(0, len(weights), together)
    ]
    return np.where(num_true[:, None] > 0, np.concatenate(parts), np.nan)


def _precision(ranking: Ranking, weights: np.ndarray, num_true: np.ndarray) -> np.ndarray:
    """AP [S, 10] where there are true boxes, for as many weightings as memory allows."""
    weight = weights[:, ranking.image]  # [S, n]
    passed = weight.cumsum(1)
    averages = np.zeros((len(weights), len(IOUS)))
    for t in range(len(IOUS)):
        at = ranking.hits[t].nonzero()[0]  # Precision peaks at hits; nothing else is looked at.
        hits = weight[:, at].cumsum(1, dtype=np.float64)
        judged = passed[:, at]
        ignored = ranking.ignored[t].nonzero()[0]
        if len(ignored):
            left_out = np.pad(weight[:, ignored].cumsum(1), ((0, 0), (1, 0)))
            judged = judged - left_out[:, np.searchsorted(ignored, at)]
        precision = hits / np.maximum(judged, 1)
        # p(r) = max over r' >= r of the precision: PASCAL VOC 2010's interpolation, at 101 recalls.
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(num_true, 1)[:, None]
        reached = np.searchsorted(RECALLS, recall, side="right")
        averages[:, t] = (best * np.diff(reached, axis=1, prepend=0)).sum(1) / len(RECALLS)
    return averages


def _match(boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give hits and ignored, Boolean [10, D], of the detections of one image, best first."""
    iou = _overlap(boxes, truth, crowd)
    hits = np.zeros((len(IOUS), len(boxes)), dtype=bool)
    ignored = np.zeros_like(hits)
    free = np.broadcast_to(~crowd, (len(IOUS), len(truth))).copy()
    for d in (iou.max(1) >= IOUS[0]).nonzero()[0]:
        close = iou[d] >= IOUS[:, None]  # [10, G]
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
