"""The quality gate: how often a teacher is right, by its score, on a slice that people labelled."""

from collections.abc import Iterable, Sequence

from torch import Tensor
from torchvision.ops import box_iou

BINS = 10


def precision_by_score(
    judged: Iterable[tuple[Sequence[float], Sequence[bool]]],
) -> list[tuple[float, float, int]]:
    """Compute the share of right boxes per bin of scores.

    Args:
        judged: Per image the scores, and whether each box is right.

    Returns:
        Per bin that has any: its lower edge, the precision, and how many boxes it has.
    """
    counts, hits = [0] * BINS, [0] * BINS
    for scores, right in judged:
        for score, is_right in zip(scores, right, strict=True):
            place = min(int(score * BINS), BINS - 1)
            counts[place] += 1
            hits[place] += is_right
    return [(b / BINS, hits[b] / counts[b], counts[b]) for b in range(BINS) if counts[b]]


def right_boxes(
    boxes: Tensor, phrases: Sequence[str], true_boxes: Tensor, true_phrases: Sequence[str]
) -> list[bool]:
    """Return for each box [D, 4] whether a true box [G, 4] of the same words lies there."""
    if not len(boxes) or not len(true_boxes):
        return [False] * len(boxes)
    overlap = box_iou(boxes, true_boxes) >= 0.5
    return [
        any(
            bool(overlap[d, g]) and other.lower() == phrase.lower()
            for g, other in enumerate(true_phrases)
        )
        for d, phrase in enumerate(phrases)
    ]
