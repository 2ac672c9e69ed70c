"""Where a run stands in its epoch, which travels in checkpoints so that a resumed run goes on."""

from typing import Any

from pytorch_lightning import Trainer


class EpochPlace:
    """The place of a run, and that of the checkpoint that it goes on from.

    Args:
        batch_size: Training images per process and step.
        seed: Fixes the order of the samples.
    """

    def __init__(self, batch_size: int, seed: int) -> None:
        self._batch_size, self._seed = batch_size, seed
        self._resumed: dict[str, int] = {}

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
