"""What a score means: reliability, expected calibration error, and a temperature that mends both.

A score of 0.7 should be right seven times in ten. See Guo et al., On Calibration of Modern Neural
Networks (https://arxiv.org/abs/1706.04599). Scores of a detector are geometric means that are not
centred at a half, so the logit is shifted as well as scaled (Platt).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

BINS = 15
_EDGE = 1e-6  # Scores of 0 and 1 have no logit.


@dataclass(frozen=True)
class Temperature:
    """p = sigmoid(logit(s) / t + b).

    Attributes:
        temperature: t; above 1 for scores that are too sure.
        shift: b.
    """

    temperature: float = 1.0
    shift: float = 0.0

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores [n] into probabilities [n]."""
        p: np.ndarray = 1 / (1 + np.exp(-(_logit(scores) / self.temperature + self.shift)))
        return p


def fit_temperature(scores: np.ndarray, right: np.ndarray) -> Temperature:
    """Find the temperature and shift under which the detections are likeliest.

    Args:
        scores: [n] in [0, 1].
        right: Boolean [n].
    """
    logits, target = _logit(scores), right.astype(float)
    if len(np.unique(target)) < 2:
        return Temperature()  # All right or all wrong: the likeliest would be infinite.

    def loss(of: np.ndarray) -> float:
        z = logits * np.exp(-of[0]) + of[1]
        return float(np.mean(np.logaddexp(0, z) - target * z))

    found = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return Temperature(float(np.exp(found[0])), float(found[1]))


def reliability(scores: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Per bin of scores that has any: the mean score, the share that is right, and the count."""
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    return [
        (float(scores[rows].mean()), float(right[rows].mean()), int(rows.sum()))
        for b in range(BINS)
        if (rows := place == b).any()
    ]


def calibration_error(scores: np.ndarray, right: np.ndarray) -> float:
    """Compute the expected calibration error: how far score and share are apart, on average."""
    if not len(scores):
        return 0.0
    return sum(n * abs(mean - share) for mean, share, n in reliability(scores, right)) / len(scores)


def _logit(scores: np.ndarray) -> np.ndarray:
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    logit: np.ndarray = np.log(inside) - np.log1p(-inside)
    return logit
