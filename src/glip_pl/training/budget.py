"""A training run that ends after seconds of processor time, however busy the machine is."""

import os
from datetime import timedelta

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.trainer.states import RunningStage


class CoreSeconds(Timer):
    """End training after `seconds` of processor time, and let the learning rates fall until then.

    So that two detectors can be compared after equal work. All threads count; loaders with workers
    do once they have ended, so that `data.num_workers` should be 0.

    Args:
        seconds: Of the whole process, from its start on.
        since: Seconds of this process that went before and do not count.
    """

    def __init__(self, seconds: float, since: float = 0.0) -> None:
        super().__init__(timedelta(seconds=seconds), verbose=False)
        self.since = since

    def time_elapsed(self, stage: str = RunningStage.TRAINING) -> float:
        """Return the seconds spent; whichever `stage` is asked for, all count."""
        return core_seconds() - self.since


def core_seconds() -> float:
    """Return the processor time of this process and of its children that have ended, in seconds."""
    return sum(os.times()[:4])


def time_spent(trainer: Trainer) -> float:
    """Return which part of its time a run has spent, 0 where it has no limit.

    All processes get that of the first, so that their learning rates stay the same.
    """
    timers = [c for c in trainer.callbacks if isinstance(c, Timer)]  # type: ignore[attr-defined]
    spent = 0.0
    for timer in timers:
        left = timer.time_remaining()
        if left is not None:
            elapsed = timer.time_elapsed()
            spent = max(spent, elapsed / max(elapsed + left, 1e-9))
    return float(trainer.strategy.broadcast(spent)) if timers else 0.0
