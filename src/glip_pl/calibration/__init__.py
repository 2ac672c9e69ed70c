"""Calibration: a threshold for every name, and what a score means."""

from glip_pl.calibration.calibration import Calibration, calibrate_scores

__all__ = ["Calibration", "calibrate_scores"]
