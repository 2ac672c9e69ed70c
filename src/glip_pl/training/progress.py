"""What a run writes while it goes on and when it ends: a bar or lines, and a table at last."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import ProcessingSpeedColumn
from pytorch_lightning.utilities import rank_zero_info
from rich.box import ROUNDED
from rich.console import Console
from rich.progress import BarColumn
from rich.table import Table

from glip_pl.system.screen import next_command
from glip_pl.training.checkpoints import BestCheckpoint, LastCheckpoint

# Names that are listed one by one.
_ROWS = 20
# Characters of a terminal in which all of a bar has room, and of the bar where it has not.
_WIDE, _SHORT_BAR = 100, 6


class Progress(RichProgressBar):
    """A bar in a terminal, and a line for every epoch where the output goes elsewhere."""

    def __init__(self) -> None:
        super().__init__(leave=True)
        self._start: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look where the output goes."""
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count the seconds of an epoch."""
        self._start = time.monotonic()
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line of an epoch, if no bar shows it."""
        super().on_train_epoch_end(trainer, pl_module)
        start, self._start = self._start, None
        # An epoch of which a resumed run had nothing left to train was told before.
        if self.is_disabled and start is not None:
            most = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
            scores = {
                name: float(trainer.callback_metrics[name])
                for name in ("train/loss", "val/score")
                if name in trainer.callback_metrics
            }
            rank_zero_info(
                f"epoch {trainer.current_epoch + 1}{most}: step {trainer.global_step}"
                + "".join(f", {name} {value:.4g}" for name, value in scores.items())
                + f", {time.monotonic() - start:.0f} s"
            )

    def _get_train_description(self, current_epoch: int) -> str:
        """Count epochs from 1, as the lines do."""
        most = self.trainer.max_epochs
        number = f"Epoch {current_epoch + 1}" + (f"/{most}" if most and most > 0 else "")
        return f"{number:{len(self.validation_description)}}"

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Leave room for the scores in a narrow terminal: a short bar, and no speed."""
        columns: list[Any] = super().configure_columns(trainer)
        if get_terminal_size().columns >= _WIDE:
            return columns
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = _SHORT_BAR
        return [column for column in columns if not isinstance(column, ProcessingSpeedColumn)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Leave out the version of the run, which stands in its path."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class Closing(Callback):
    """Write a table of the scores at the end, and what to type next.

    Args:
        data: The options of the data, as they were typed: the next command has them, too.
    """

    def __init__(self, data: Sequence[str] = ()) -> None:
        self.data = tuple(data)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write them below the bar, which has ended by now."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        if stage == "fit" and trainer.global_step:
            self._close_fit(trainer)
        elif stage in ("validate", "test"):
            self._close_test(trainer, "val/" if stage == "validate" else "test/")

    def _close_fit(self, trainer: Trainer) -> None:
        scores = {"step": trainer.global_step, **_scores(trainer.callback_metrics, "val/")}
        files = {}
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
                scores["best val/score"] = float(callback.best_model_score)
                files["best"] = _short(callback.best_model_path)
            elif isinstance(callback, LastCheckpoint):
                files["last"] = _short(callback.path)
        usable = next((files[kind] for kind in ("best", "last") if kind in files), None)
        folder = _folder(trainer)
        data = self.data or [f"--config={folder}/config.yaml"]
        command = ["glip", "test", *data, f"--ckpt_path={usable}"] if usable else []
        _write(scores, {**files, "logs": folder}, command)

    def _close_test(self, trainer: Trainer, prefix: str) -> None:
        files = {"results" if prefix == "test/" else "logs": _folder(trainer)}
        command = []
        if trainer.ckpt_path:
            tested = _short(trainer.ckpt_path)
            files = {"tested": tested, **files}
            command = [
                "glip",
                "predict",
                f"--ckpt_path={tested}",
                "--image=PHOTO",
                "--prompt=NAMES",
            ]
        _write(_scores(trainer.callback_metrics, prefix), files, command)


def _scores(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    scores = {name: float(value) for name, value in metrics.items() if name.startswith(prefix)}
    each = [name for name in scores if "/class/" in name]
    # Of many names, the score of each fills the screen; the logs and results have them all.
    return scores if len(each) <= _ROWS else {n: v for n, v in scores.items() if n not in each}


def _folder(trainer: Trainer) -> str:
    """Return the folder of the run; `trainer.log_dir` would wait for all processes to ask."""
    logger = trainer.logger
    return _short((logger and (logger.log_dir or logger.save_dir)) or trainer.default_root_dir)


def _write(scores: Mapping[str, float], files: Mapping[str, str], command: list[str]) -> None:
    """Write a table, and below it lines that can be copied whole."""
    table = Table(box=ROUNDED, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    for name, value in scores.items():
        # What nothing was there to measure has the value -1.
        text = "-" if value == -1 else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
        table.add_row(name, text)
    console = Console(soft_wrap=True)
    console.print(table)
    for name, path in files.items():
        console.print(f"{name + ':':<9}{path}", markup=False, highlight=False)
    if command:
        console.print(next_command(*command), markup=False, highlight=False)


def _short(path: str | Path | None) -> str:
    """Return a path as short as it can be from here."""
    whole = Path(path or ".").absolute()
    here = Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)
