"""The forgetting guard: what a model knew is scored beside what it learns, epoch by epoch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info

from glip_pl.data import GroundingDataModule
from glip_pl.data.descriptors import read_descriptor

REPORT = "forgetting.json"
_AFTER = "epoch {}"


class ForgettingGuard(Callback):
    """Validate on sets of before as well, and report what is kept of each class.

    The recipe ``guard`` also scores the model before its first step, which all later scores are
    held against.

    Args:
        sets: Descriptions of data: YAMLs such as data/bccd.yaml, the config.yaml of the run that
            the weights come from, or names; their validation sets are taken.
    """

    def __init__(self, sets: Sequence[str]) -> None:
        self.sets = sets
        self._kept: list[str] = []
        self._history: list[dict[str, Any]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add the sets to those that are validated on."""
        if stage != "fit" or self._kept:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, GroundingDataModule)
        for source in self.sets:
            described = read_descriptor(source, advice="ForgettingGuard.sets")
            described.prepare_data()
            for name, dataset in described.val.items():
                kept = f"kept_{name}"
                data.add_validation(kept, dataset.at(described.root))
                self._kept.append(kept)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the scores of all sets."""
        if trainer.state.fn != "fit":
            return
        when = "before" if trainer.sanity_checking else _AFTER.format(trainer.current_epoch)
        results: Mapping[str, float] = pl_module.results  # type: ignore[assignment]
        self._history.append({"when": when, "scores": dict(results)})
        directory = trainer.log_dir or trainer.default_root_dir
        if trainer.is_global_zero:
            path = Path(directory) / REPORT
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.report(), indent=1) + "\n")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what was learned and what was kept."""
        for line in self.lines():
            rank_zero_info(line)

    def report(self) -> dict[str, Any]:
        """Return the scores of every epoch, and per value the share of the first that is kept."""
        first = self._history[0]["scores"] if self._history else {}
        last = self._history[-1]["scores"] if self._history else {}
        kept = {
            key: last[key] / value
            for key, value in first.items()
            if value > 0 and key in last and self._is_kept(key)
        }
        return {"kept_sets": self._kept, "kept": kept, "history": self._history}

    def lines(self) -> list[str]:
        """Return in a line per set how its score went, and which class lost most."""
        if not self._history:
            return []
        first, last = self._history[0]["scores"], self._history[-1]["scores"]
        shares, lines = self.report()["kept"], []
        for key in (k for k in first if k.endswith(("/map", "/recall@1"))):
            line = f"{key.removeprefix('val/')}: {first[key]:.3f} -> {last.get(key, -1):.3f}"
            if key in shares:
                line += f" ({100 * shares[key]:.0f} % kept)"
                classes = {
                    k: s
                    for k, s in shares.items()
                    if k.startswith(f"{key.rpartition('/')[0]}/class/")
                }
                if classes:
                    worst = min(classes, key=lambda k: classes[k])
                    name = worst.partition("/class/")[2]
                    line += f"; {name!r} lost most, {100 * classes[worst]:.0f} % kept"
            lines.append(line)
        return lines

    def state_dict(self) -> dict[str, Any]:
        """Keep the scores so far for a resumed run."""
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        # A resumed run has scored itself again before its first step.
        self._history = state_dict["history"]

    def _is_kept(self, key: str) -> bool:
        return any(key.startswith(f"val/{name}/") for name in self._kept)
