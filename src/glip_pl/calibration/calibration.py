"""A calibration as a whole: thresholds by name, the temperature, and what was measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glip_pl.calibration.judged import Judged
from glip_pl.calibration.reliability import (
    Temperature,
    calibration_error,
    fit_temperature,
    reliability,
)
from glip_pl.calibration.thresholds import Threshold, best_threshold


@dataclass(frozen=True)
class Calibration:
    """What was found on a validation set.

    Attributes:
        thresholds: By name.
        unknown: Names without a threshold, as no true box of theirs was there or found.
        temperature: Turns scores into probabilities.
        error: Expected calibration error before the temperature and after it.
        before: Reliability before: mean score, share right and count per bin.
        after: The same after.
        absence: Of the images that do not show a name, the share in which nothing reaches its
            threshold (N-acc), over all names; None without such images.
    """

    thresholds: Mapping[str, Threshold]
    unknown: tuple[str, ...]
    temperature: Temperature
    error: tuple[float, float]
    before: list[tuple[float, float, int]]
    after: list[tuple[float, float, int]]
    absence: float | None

    def record(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "thresholds": {name: {**asdict(t), "f1": t.f1} for name, t in self.thresholds.items()},
            "without_threshold": list(self.unknown),
            "temperature": asdict(self.temperature),
            "calibration_error": {"before": self.error[0], "after": self.error[1]},
            "reliability": {"before": self.before, "after": self.after},
            "n_acc": self.absence,
        }


def calibrate_scores(
    judged: Mapping[int, Judged], names: Mapping[int, str], *, precision: float | None = None
) -> Calibration:
    """Choose thresholds and a temperature.

    Args:
        judged: By category id.
        names: The name of each.
        precision: See `best_threshold`.
    """
    chosen = {names[c]: best_threshold(of, precision=precision) for c, of in judged.items()}
    thresholds = {name: t for name, t in chosen.items() if t is not None}
    scores = np.array([s for of in judged.values() for s in of.scores])
    right = np.array([r for of in judged.values() for r in of.right], dtype=bool)
    temperature = fit_temperature(scores, right) if len(scores) else Temperature()
    probable = temperature(scores)
    quiet = [
        best < thresholds[names[c]].value
        for c, of in judged.items()
        if names[c] in thresholds
        for best in of.absent
    ]
    return Calibration(
        thresholds,
        tuple(name for name, t in chosen.items() if t is None),
        temperature,
        (calibration_error(scores, right), calibration_error(probable, right)),
        reliability(scores, right),
        reliability(probable, right),
        sum(quiet) / len(quiet) if quiet else None,
    )
