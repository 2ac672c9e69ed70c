"""The least score at which a detection is worth showing, from detections that are judged."""

from dataclasses import dataclass

import numpy as np

from glip_pl.calibration.judged import Judged


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it reaches on the set it was chosen on.

    Attributes:
        value: Detections with a lower score are not shown.
        precision: Share of the shown ones that are right.
        recall: Share of the true boxes that are found.
    """

    value: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def best_threshold(judged: Judged, *, precision: float | None = None) -> Threshold | None:
    """Choose the threshold with the best F1, or that of most recall at a precision.

    It lies half-way between the last score that is shown and the first that is not.

    Args:
        judged: Of one name.
        precision: Share of the shown detections that must be right; where none reaches it, the
            threshold is the one that comes closest.

    Returns:
        None where nothing can be said: there is no true box, or nothing was found.
    """
    scores, right = np.array(judged.scores), np.array(judged.right, dtype=bool)
    if not judged.num_true or not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], right[order].cumsum()
    precisions, recalls = hits / np.arange(1, len(hits) + 1), hits / judged.num_true
    # Equal scores are shown together or not at all.
    last = np.append(scores[1:] < scores[:-1], True)
    if precision is None:
        value = 2 * precisions * recalls / np.maximum(precisions + recalls, 1e-12)
    elif (precisions[last] >= precision).any():
        value = np.where(precisions >= precision, recalls, -1.0)
    else:
        value = precisions
    best = int(np.argmax(np.where(last, value, -2.0)))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    middle = float((scores[best] + below) / 2)
    return Threshold(middle, float(precisions[best]), float(recalls[best]))
