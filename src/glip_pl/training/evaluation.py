"""Evaluation: detect in every set, score each by its own metric, log ``val/score`` and the rest.

Sets are known by their kind and name, ``val/shapes``; the first of a kind gives its score, by which
checkpoints are chosen and learning rates fall.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningModule
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from glip_pl.data import GroundingDataModule
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.inference.detector import Detector
from glip_pl.structures import Batch, Detections


class Scores(nn.ModuleDict):
    """One metric per set: updated with every batch, computed at the end of an epoch."""

    def prepare(self, kind: str, sets: Mapping[str, GroundingDataset]) -> None:
        """Make a metric for every set of a kind, val or test; those of other data are gone."""
        for key in [key for key in self if key.startswith(f"{kind}/")]:
            del self[key]
        for name, dataset in sets.items():
            self[f"{kind}/{name}"] = dataset.make_metric()

    def count(self, key: str, found: Sequence[Detections], batch: Batch) -> None:
        """Update the metric of one set with what was found in a batch of it."""
        self._metric(key).update(found, batch.questions, batch.known())

    def compute(self, kind: str) -> dict[str, float]:
        """Return the values of all sets of a kind, the first set's first, and begin anew."""
        values: dict[str, float] = {}
        for key in [key for key in self if key.startswith(f"{kind}/")]:
            metric = self._metric(key)
            values |= {f"{key}/{name}": float(value) for name, value in metric.compute().items()}
            metric.reset()
        return values

    def _metric(self, key: str) -> Metric:
        metric = self[key]
        assert isinstance(metric, Metric)
        return metric


class Evaluated(LightningModule):
    """A Lightning module that detects, and is scored on the sets of its data module.

    Attributes:
        model: What learns.
        detector: Finds what the prompts of a batch name.
        metrics: One for every evaluation set.
        results: What the last evaluation gave, by ``kind/set/name``.
    """

    model: nn.Module
    detector: Detector

    def __init__(self) -> None:
        super().__init__()
        self.metrics = Scores()
        self.results: dict[str, float] = {}

    @property
    def _data(self) -> GroundingDataModule:
        data: GroundingDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    # Lightning's type lacks lists, but takes them: callbacks get the detections and can draw them.
    def validation_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[Detections]:
        """Detect, and update the metric of the set that the batch comes from."""
        return self._evaluate(batch, f"val/{self._data.val_names[dataloader_idx]}")

    # As for `validation_step`.
    def test_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[Detections]:
        """See `validation_step`."""
        return self._evaluate(batch, f"test/{self._data.test_names[dataloader_idx]}")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Detections]:
        """Detect."""
        return self.detector(batch)

    def _evaluate(self, batch: Batch, key: str) -> list[Detections]:
        detections = self.predict_step(batch, 0)
        self.metrics.count(key, detections, batch)
        return detections

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation set; a learning rate may fall by them."""
        self._log_metrics("val")
        last = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.trainer.state.fn != "fit" or self.trainer.sanity_checking or not last:
            return
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and self.results:
                config.scheduler.step(next(iter(self.results.values())))

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test set."""
        self._log_metrics("test")

    def _log_metrics(self, kind: str) -> None:
        self.results = self.metrics.compute(kind)
        if self.results:
            # One name for "the" score, whatever the data: checkpoints are chosen by it.
            self.log(f"{kind}/score", next(iter(self.results.values())), prog_bar=True)
        self.log_dict(self.results)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step the schedules, but for `Plateau`, which has stepped by then.

        Lightning lets it step after the checkpoints of an epoch are written, so that a resumed run
        would go on with a learning rate that is still too high.
        """
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()
