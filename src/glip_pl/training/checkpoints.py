"""The two checkpoints of a run: the last state, to resume from, and the best, to use."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from glip_pl.training.stop import Stopped, StopSignals, agree, requeue

log = logging.getLogger(__name__)


class LastCheckpoint(ModelCheckpoint):
    """Keep the newest state of a run in ``last.ckpt``, whatever ends the run.

    It is written before and after every validation, at the end of every epoch, every so many steps
    or minutes, and when a signal (SIGTERM, Ctrl-C, SLURM's warning) or an error ends the run. A run
    that is resumed from it equals one that never stopped.
    """

    def __init__(
        self,
        dirpath: str | None = None,
        filename: str = "last",
        *,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = 30.0,
    ) -> None:
        """Note when to write.

        Args:
            dirpath: Folder of the file; by default that of the run.
            filename: Name of the file, without its suffix.
            every_n_steps: Optimizer steps between two writings within an epoch.
            every_n_minutes: Minutes between them.
        """
        super().__init__(
            dirpath, filename, enable_version_counter=False, auto_insert_metric_name=False
        )
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self._signals = StopSignals()
        self._written: tuple[int, str] | None = None
        self._written_at = 0.0
        self._amid_step = self._training = self._validation_is_due = False

    @property
    def path(self) -> str:
        """The file."""
        return self.format_checkpoint_name({})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count and to listen."""
        self._written_at, self._training, self._amid_step = time.monotonic(), True, False
        self._signals.listen(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
        """Remember that the weights are half old and half new from now on."""
        self._amid_step = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Write if it is time to, and stop if a signal asked for it."""
        self._amid_step = False
        loop = trainer.fit_loop
        # Gradients that are still summed up are in no checkpoint. What follows the last batch of an
        # epoch writes for itself.
        if loop._should_accumulate() or loop.epoch_loop.batch_progress.is_last_batch:
            return
        number, due = agree(trainer, self._signals.received, int(self._is_due(trainer)))
        if number or due or trainer.global_step == trainer.max_steps:
            self._write(trainer, "step")
        self._stop(trainer, number)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was learned before anything can go wrong in the validation."""
        if not self._fits(trainer):
            return
        self._validation_is_due = True
        self._write(trainer, "before validation")
        self._validation_is_due = False
        self._stop(trainer, self._signals.asked(trainer))

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop a lone process at once; several would wait for each other."""
        if self._fits(trainer) and trainer.world_size == 1:
            self._stop(trainer, self._signals.received)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state with the scores of the validation."""
        if self._fits(trainer):
            self._write(trainer, "after validation")
            self._stop(trainer, self._signals.asked(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after an epoch without a validation."""
        if self._written is None or self._written[0] != trainer.global_step:
            self._write(trainer, "end of epoch")
        self._stop(trainer, self._signals.asked(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave errors after the training alone: they have nothing to save."""
        self._training = False

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write what was learned until an error, but nothing that is half done."""
        if isinstance(exception, Stopped) or not self._training:
            return
        self._training = False
        whole = isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
        if not self._amid_step and whole and self._new_steps(trainer):
            try:
                # Not `trainer.save_checkpoint`, which would wait for processes that may be dead.
                state = trainer._checkpoint_connector.dump_checkpoint(False)
                trainer.strategy.save_checkpoint(state, self.path)
                self._written = (trainer.global_step, "error")
            except ValueError as error:
                log.error("%s", error)
        if trainer.is_global_zero and self._written is not None:
            told = (
                f"the run ended after {self._written[0]} steps ({type(exception).__name__}); "
                f"resume it with --ckpt_path={self.path}"
            )
            if isinstance(exception, KeyboardInterrupt):  # Lightning raises it no further.
                log.error("%s", told)
            else:  # What comes last is read.
                exception.add_note(told)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a run resumed from before a validation begin with it.

        Lightning skips a validation that its counters do not show as begun.
        """
        if self._validation_is_due:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress.update(total=begun, current=dict(begun), is_last_batch=False)

    def _fits(self, trainer: Trainer) -> bool:
        return self._training and not trainer.sanity_checking

    def _new_steps(self, trainer: Trainer) -> bool:
        return trainer.global_step > (self._written[0] if self._written else 0)

    def _is_due(self, trainer: Trainer) -> bool:
        if not self._new_steps(trainer):
            return False
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None:
            return False
        return time.monotonic() - self._written_at > 60 * self.every_n_minutes

    def _write(self, trainer: Trainer, moment: str) -> None:
        if self._written == (trainer.global_step, moment):
            return
        trainer.save_checkpoint(self.path)
        self.last_model_path = self._last_checkpoint_saved = self.path
        self._written, self._written_at = (trainer.global_step, moment), time.monotonic()

    def _stop(self, trainer: Trainer, number: int) -> None:
        if not number:
            return
        requeue(trainer, number)
        if trainer.is_global_zero:
            log.warning(
                "signal %d ended the run after %d steps; resume it with --ckpt_path=%s",
                *(number, trainer.global_step, self.path),
            )
        raise Stopped(number)


class BestCheckpoint(ModelCheckpoint):
    """Keep the state with the best validation score of the whole run, resumed or not."""

    def __init__(
        self,
        dirpath: str | None = None,
        filename: str = "best",
        *,
        monitor: str = "val/score",
        mode: str = "max",
    ) -> None:
        """Note what is best.

        Args:
            dirpath: Folder of the file; by default that of the run.
            filename: Name of the file, without its suffix.
            monitor: The score.
            mode: "max" where higher is better, "min" where lower is.
        """
        super().__init__(
            *(dirpath, filename),
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
            # Right after the validation, so that the last checkpoint knows of it.
            save_on_train_epoch_end=False,
        )
        self._before: dict[str, Any] = {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best of the run so far; its file may lie in another folder."""
        if state_dict.get("dirpath") == self.dirpath:
            super().load_state_dict(state_dict)
        else:
            self._before = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the best of before the run was resumed into the folder of this one."""
        super().on_train_start(trainer, pl_module)
        before, self._before = self._before, {}
        score = before.get("best_model_score")
        if not isinstance(score, Tensor):
            return
        places = [Path(before["best_model_path"])]
        if trainer.ckpt_path:  # Where the folder of the run was moved.
            places.append(Path(trainer.ckpt_path).parent / places[0].name)
        found = next((place for place in places if place.is_file()), None)
        target = self.format_checkpoint_name({})
        if trainer.is_global_zero and found is not None:
            _copy(found, Path(target))
        if not trainer.strategy.broadcast(found is not None):
            log.warning(
                "the best checkpoint so far, %s with %s %.4g, is gone; %s will be the best of what "
                "follows",
                *(places[0], self.monitor, float(score), target),
            )
            return
        self.best_model_path = self.kth_best_model_path = target
        self.best_model_score = self.kth_value = score
        self.best_k_models = {target: score}


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that the target is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)
