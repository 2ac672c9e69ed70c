"""Steps whose numbers are not finite: skipped by all processes, counted, and kept for replay."""

import logging
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from glip_pl.structures import Batch
from glip_pl.training.sharding import whole
from glip_pl.training.stop import agree

log = logging.getLogger(__name__)


class SkipNonFinite(Callback):
    """Skip a step whose loss or gradient is infinite or not a number, in all processes together.

    The batch of each process is written into ``skipped/`` of the run's folder, where `read_batch`
    reads it. In fp16 the scaler tries larger and larger scales and skips steps that overflow by
    itself; these do not count unless the loss is to blame.
    """

    def __init__(self, max_in_row: int = 3) -> None:
        """Note when to give up.

        Args:
            max_in_row: Steps skipped one after the other that end the run.
        """
        self.max_in_row = max_in_row
        self.skipped = self._in_row = 0
        self._loss_is_finite: Tensor | None = None
        self._batch: Batch | None = None

    def state_dict(self) -> dict[str, int]:
        """Return how many steps of the run were skipped."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """See `state_dict`."""
        self.skipped = state_dict["skipped"]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the batch until its step is done."""
        self._batch = batch

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss of each batch that the step sums up."""
        finite = loss.detach().isfinite().all()
        before = self._loss_is_finite
        self._loss_is_finite = finite if before is None else finite & before

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Skip the step unless its numbers are finite everywhere.

        Raises:
            ValueError: As many steps in a row were skipped as are allowed.
        """
        loss, self._loss_is_finite = self._loss_is_finite, None
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        finite = torch.tensor(True) if loss is None else loss
        if gradients and not _scaler_decides(trainer):
            finite = finite & whole(torch.nn.utils.get_total_norm(gradients)).isfinite()
        if not agree(trainer, int(not finite))[0]:
            self._in_row = 0
            return
        for parameter in parameters:
            parameter.grad = None  # The optimizer leaves it as it is, and its moments too.
        self.skipped += 1
        self._in_row += 1
        file = self._write_batch(trainer)
        log.warning(
            "step %d has a loss or gradient that is not finite and was skipped (%d in all); its "
            "batch is kept in %s",
            *(trainer.global_step, self.skipped, file),
        )
        if self._in_row >= self.max_in_row:
            raise ValueError(
                f"{self._in_row} steps in a row had a loss or gradient that is not finite; their "
                f"batches are in {str(file.parent)!r}; go on from the last checkpoint with a lower "
                "--model.optimizer.lr, or set --trainer.gradient_clip_val"
            )

    def _write_batch(self, trainer: Trainer) -> Path:
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "skipped"
        file = folder / f"step{trainer.global_step}-process{trainer.global_rank}.pt"
        folder.mkdir(parents=True, exist_ok=True)
        assert self._batch is not None
        torch.save(self._batch.to("cpu"), file)
        return file


def read_batch(path: str | Path) -> Batch:
    """Read a batch that `SkipNonFinite` kept, without executing anything in the file."""
    with torch.serialization.safe_globals(_classes()):
        batch: Batch = torch.load(path, weights_only=True)
    return batch


def _classes() -> list[Any]:
    """Return the classes that a batch is made of."""
    from glip_pl import prompts, structures
    from glip_pl.prompts import tokens

    return [
        value
        for module in (structures, prompts, tokens)
        for value in vars(module).values()
        if isinstance(value, type) and hasattr(value, "__dataclass_fields__")
    ]


def _scaler_decides(trainer: Trainer) -> bool:
    """Whether a gradient that overflows is the fp16 scaler's to skip: it goes down to a scale of 1.

    Below that, the gradient itself is to blame.
    """
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler is not None and float(scaler.get_scale()) >= 1
