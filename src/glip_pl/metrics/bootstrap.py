"""Paired bootstrap: does a difference of two scores stay with other images of the same kind.

Images are drawn with replacement, and both models are judged on every draw. Detections are held
against the truth once; a draw is then a *weight* per image, how often it was drawn, so that 1,000
draws of AP are sums along one ranking per class. See Efron and Tibshirani, An Introduction to the
Bootstrap, Ch. 13 (percentile intervals). It speaks of the choice of images, not of training seeds.
"""

import numpy as np

from glip_pl.metrics.ranking import Ranking

# Numbers held at once: draws of a long ranking are taken in several goes.
_ROOM = 4_000_000


def draws(num_images: int, samples: int, *, seed: int = 0) -> np.ndarray:
    """Draw images with replacement; give how often each was drawn, [samples, num_images]."""
    chances = np.full(num_images, 1 / num_images)
    drawn = np.random.default_rng(seed).multinomial(num_images, chances, size=samples)
    return drawn.astype(np.float32)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of draws [S]; those that are nan were of no such object."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """AP of one class, for many weightings of the images at once.

    An image of weight 2 counts like two equal images; with all weights 1 this is the metric's AP.

    Args:
        ranking: What `rank` gave.
        weights: [S, I], whole numbers; fastest where those of an image lie side by side (Fortran's
            order).

    Returns:
        [S, T], AP per IoU of the ranking's protocol; nan where a weighting leaves no true box.
    """
    num_true = _total(ranking.num_true, weights)
    limit = ranking.protocol.max_per_class
    if limit is not None:
        of_image = np.bincount(ranking.image, minlength=weights.shape[1])
        limit = limit if _total(of_image, weights).max() > limit else None
    together = max(_ROOM // max(len(ranking.image), 1), 1)
    parts = [
        _precision(
            ranking, weights[start : start + together], num_true[start : start + together], limit
        )
        for start in range(0, len(weights), together)
    ]
    return np.where(num_true[:, None] > 0, np.concatenate(parts), np.nan)


def _total(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum counts of images [I] under each weighting, [S]; most of the counts are 0."""
    shown = counts.nonzero()[0]
    total: np.ndarray = counts[shown].astype(np.float64) @ weights.T[shown]
    return total


def _precision(
    ranking: Ranking, weights: np.ndarray, num_true: np.ndarray, limit: int | None
) -> np.ndarray:
    """AP [S, T] where there are true boxes, for as many weightings as memory allows."""
    # Those that count neither way matter only where they take the room of others.
    judged = ~ranking.ignored.all(0)
    if limit is None:
        weight = weights.T[ranking.image[judged]]  # [n, S]
    else:
        passed = np.minimum(weights.T[ranking.image].cumsum(0), limit)
        weight = np.diff(passed, axis=0, prepend=0)[judged]
    every_hit, every_ignored = ranking.hits[:, judged], ranking.ignored[:, judged]
    passed = weight.cumsum(0)
    recalls = ranking.protocol.recalls
    averages = np.zeros((len(weights), len(every_hit)))
    for t in range(len(every_hit)):
        at = every_hit[t].nonzero()[0]  # Precision peaks at hits; nothing else is looked at.
        hits = weight[at].cumsum(0, dtype=np.float64)
        counted = passed[at]
        ignored = every_ignored[t].nonzero()[0]
        if len(ignored):
            left_out = np.pad(weight[ignored].cumsum(0), ((1, 0), (0, 0)))
            counted = counted - left_out[np.searchsorted(ignored, at)]
        precision = hits / np.maximum(counted, 1)
        # p(r) = max over r' >= r of the precision: PASCAL VOC 2010's interpolation, at 101 recalls.
        best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        reached = np.searchsorted(recalls, hits / np.maximum(num_true, 1), side="right")
        averages[:, t] = (best * np.diff(reached, axis=0, prepend=0)).sum(0) / len(recalls)
    return averages
