"""TensorBoard as a run of grounding fills it."""

import shutil
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.logger import _convert_params, _flatten_dict
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

# What the HParams page shows of a run; the values are the last ones of the curves of these names.
_SCORES = ("val/score", "test/score")


class RunLogger(TensorBoardLogger):
    """TensorBoard whose HParams page has the scores, and whose first curves are those of training.

    Args:
        save_dir: Folder of all runs.
        name: Folder of the runs of a kind.
        version: Folder of this run; by default the next number.
        sub_dir: Folder below it for the events.
    """

    def __init__(
        self,
        save_dir: str,
        name: str = "glip",
        version: int | str | None = None,
        sub_dir: str | None = None,
    ) -> None:
        super().__init__(save_dir, name, version, default_hp_metric=False, sub_dir=sub_dir)

    @rank_zero_only
    def log_hyperparams(
        self,
        params: dict[str, Any] | Namespace,
        metrics: dict[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Write the options of a run for the HParams page, which finds the scores by their names.

        Lightning's own would write a first value of each score, which nobody measured.
        """
        super().log_hyperparams(params, step=step)
        flat = self._sanitize_params(_flatten_dict(_convert_params(params)))
        for summary in hparams(flat, dict.fromkeys(_SCORES, 0.0)):  # type: ignore[no-untyped-call]
            self.experiment._get_file_writer().add_summary(summary, step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write values; that of the epoch among those of training, as no card of its own."""
        named = {"train/epoch" if name == "epoch" else name: v for name, v in metrics.items()}
        super().log_metrics(named, step)


def discard_unused(folder: Path, made: Sequence[Path] = ()) -> None:
    """Remove the folder of a run that holds nothing but its options and empty logs.

    Args:
        folder: The folder.
        made: Folders above it that were made for it, the deepest first; they go, too, if empty.
    """
    started = ("hparams.yaml", "config.yaml", "events.out.tfevents")
    files = [path for path in folder.rglob("*") if path.is_file()]
    if all(path.name.startswith(started) for path in files):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # Other runs began there meanwhile.
            for parent in made:
                parent.rmdir()
