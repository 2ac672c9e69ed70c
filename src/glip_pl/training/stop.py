"""Stopping a run when a signal asks for it: after the step, with everything saved."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning_fabric.plugins.environments import SLURMEnvironment  # type: ignore[attr-defined]
from pytorch_lightning import Trainer

log = logging.getLogger(__name__)


class Stopped(SystemExit):
    """The end of a run that a signal asked for; the exit status is 128 and its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(128 + number)


class StopSignals:
    """Notes SIGTERM, the first Ctrl-C and SLURM's warning until the step is done.

    A signal comes at any instruction, and half an optimizer step must not be saved. A second Ctrl-C
    stops at once.

    Attributes:
        received: Number of the signal; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0

    def listen(self, trainer: Trainer) -> None:
        """Take the place of Lightning's handlers; it restores the ones of before at the end."""
        self.received = 0
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT, *_requeue_signals(trainer)):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.received and number == signal.SIGINT:
            os.write(2, b"\nglip: stopping after this step; Ctrl-C again stops at once\n")
        self.received = self.received or number

    def asked(self, trainer: Trainer) -> int:
        """Return the signal that any process has received; all processes call this together."""
        return agree(trainer, self.received)[0]


def agree(trainer: Trainer, *values: int) -> list[int]:
    """Return the highest of each value over all processes, which call this together."""
    if trainer.world_size == 1:
        return list(values)
    highest = torch.tensor(values, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
    return [int(value) for value in highest.tolist()]


def requeue(trainer: Trainer, number: int) -> None:
    """Let SLURM start the job again, where the signal is its warning before the time is up."""
    if number in _requeue_signals(trainer):
        # Saves where Lightning looks first when the job starts again, and calls scontrol.
        trainer._signal_connector._slurm_sigusr_handler_fn(signal.Signals(number), _NO_FRAME)


_NO_FRAME: Any = None


def _requeue_signals(trainer: Trainer) -> list[int]:
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
        return [environment.requeue_signal or signal.SIGUSR1]
    return []
