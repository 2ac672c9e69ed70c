"""Where a run stands in its epoch, which travels in checkpoints so that a resumed run goes on."""

import math
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_info

from glip_pl.system.screen import wrapped


class EpochPlace:
    """The place of a run, and that of the checkpoint that it goes on from.

    Args:
        batch_size: Training images per process and step.
        seed: Fixes the order of the samples.
    """

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size, self._seed = batch_size, seed
        self._resumed: dict[str, int] = {}
        self._is_told = False

    def state(self, trainer: Trainer) -> dict[str, int]:
        """Return what a checkpoint must know."""
        loop: Any = trainer.fit_loop  # Lightning types its counters too loosely.
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        return {
            "epoch": epochs.processed,
            # Counted once the optimizer has stepped: a batch that failed half-way comes again.
            "batches": batches.processed if epochs.started > epochs.processed else 0,
            "images_per_step": self._batch_size * trainer.world_size,
            "seed": self._seed,
        }

    def resume(self, state: dict[str, int]) -> None:
        """Go on where a checkpoint stands, as soon as its epoch comes."""
        self._resumed = state

    def start(self, trainer: Trainer) -> tuple[int, int]:
        """Return the epoch, and how many batches of it were learned from before a resume.

        Raises:
            ValueError: The rest of the epoch would come in another order.
        """
        loop: Any = trainer.fit_loop
        epoch, state = loop.epoch_progress.current.processed, self._resumed
        before = state.get("images_per_step", self._batch_size)
        if not self._is_told and before != self._batch_size * trainer.world_size:
            told = step_size(trainer, self._batch_size, before if state else None)
            rank_zero_info(wrapped(told))
        self._is_told = True
        if state.get("epoch") != epoch:
            return epoch, 0
        if state["seed"] != self._seed:
            raise ValueError(
                f"the checkpoint stands within an epoch that was ordered by data.seed "
                f"{state['seed']}, and {self._seed} would order it anew; leave out --data.seed"
            )
        # With another batch size or number of processes, go on behind about as many images.
        step = self._batch_size * trainer.world_size
        return epoch, state["batches"] * state["images_per_step"] // step


def step_size(trainer: Trainer, batch_size: int, before: int | None = None) -> str:
    """Return what a step is in several processes, or in other ones than before, and what stays.

    Args:
        trainer: Within a fit.
        batch_size: Training images per process.
        before: Images that all processes saw at a time before the run was resumed.
    """
    world, summed = trainer.world_size, trainer.accumulate_grad_batches
    steps = math.ceil(trainer.num_training_batches / summed)
    total = trainer.estimated_stepping_batches
    resumed = "" if before is None else f", after {before * summed} until the resume"
    processes = f"{world} process{'es' if world > 1 else ''}"
    return (
        f"a step sees {world * batch_size * summed} images ({processes} x {batch_size}, "
        f"{summed} summed up){resumed}; nothing is scaled for it: the learning rate is "
        f"{trainer.optimizers[0].defaults['lr']:g}, an epoch has {steps} steps, and "
        f"{trainer.global_step} of {total:g} are done"
    )
