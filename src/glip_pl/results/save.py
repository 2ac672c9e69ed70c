"""The results of a test run as files: scores with their manifest, and the detections behind them.

``results.json`` says what was reached and under which protocol; ``predictions.json`` beside it has
what `glip compare` judges anew.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed
from torchmetrics import Metric

from glip_pl.data import GroundingDataModule
from glip_pl.metrics.coco_ap import original_boxes
from glip_pl.results.manifest import circumstances, protocol
from glip_pl.results.predictions import FILE, Seen, image_records, write_predictions
from glip_pl.structures import Batch, Detections, Question, Truth
from glip_pl.system.download import file_sha256
from glip_pl.training.evaluation import Evaluated

RESULTS = "results.json"

_Captions = dict[str, list[int]]


class SaveResults(Callback):
    """Write the results of a test run as JSON, with what is needed to repeat and to compare it."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Seen]] = {}
        self._captions: dict[str, _Captions] = {}
        self._start = 0.0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier run."""
        names = _data(trainer).test_names
        self._seen = {name: [] for name in names}
        self._captions = {name: {} for name in names}
        self._start = time.perf_counter()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the detections of a batch."""
        name = _data(trainer).test_names[dataloader_idx]
        images = zip(outputs, batch.questions, batch.known(), strict=True)
        for found, question, truth in images:
            self._seen[name].append(_seen(found, question, truth))
            if question.prompt.caption not in self._captions[name]:
                sizes = _phrases_per_chunk(question.positive_map, batch.chunk_sizes)
                self._captions[name][question.prompt.caption] = sizes

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write both files into the log directory; an AP over no box at all is null."""
        assert isinstance(pl_module, Evaluated)
        seen, captions = self._gathered()
        # All processes must ask for the directory: the first one tells the others.
        data, directory = _data(trainer), Path(trainer.log_dir or trainer.default_root_dir)
        if not trainer.is_global_zero:
            return
        directory.mkdir(parents=True, exist_ok=True)
        images = {
            name: image_records(dataset, data.root / dataset.images)
            for name, dataset in data.test.items()
        }
        write_predictions(directory / FILE, seen, images)
        sets = {}
        for name, dataset in data.test.items():
            metric = pl_module.metrics[f"test/{name}"]
            assert isinstance(metric, Metric)
            sets[name] = protocol(
                data,
                dataset,
                metric=metric,
                postprocess=pl_module.detector.postprocess,
                seen=seen[name],
                captions=captions[name],
            )
        results = {
            "metrics": {k: None if v == -1 else v for k, v in pl_module.results.items()},
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "data": str(data.root),
            "manifest": {"sets": sets, **circumstances(trainer, pl_module)},
            "predictions": {"file": FILE, "sha256": file_sha256(directory / FILE)},
            # All that differs between two equal runs.
            "when": {
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - self._start, 1),
            },
        }
        (directory / RESULTS).write_text(json.dumps(results, indent=2) + "\n")

    def _gathered(self) -> tuple[dict[str, list[Seen]], dict[str, _Captions]]:
        """Join what all processes saw, in the order of the images' ids whoever saw them."""
        parts: list[Any] = [(self._seen, self._captions)]
        if distributed.is_available() and distributed.is_initialized():
            parts = [None] * distributed.get_world_size()
            distributed.all_gather_object(parts, (self._seen, self._captions))
        seen: dict[str, list[Seen]] = {
            name: sorted((s for part, _ in parts for s in part[name]), key=lambda s: s.image_id)
            for name in self._seen
        }
        captions = {
            name: dict(sorted(item for _, part in parts for item in part[name].items()))
            for name in self._captions
        }
        self._seen, self._captions = {}, {}
        return seen, captions


def _data(trainer: Trainer) -> GroundingDataModule:
    data: GroundingDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data


def _seen(found: Detections, question: Question, truth: Truth) -> Seen:
    # A thousand names for each of a thousand images would fill the memory.
    free = bool((question.phrase_ids < 0).any())
    return Seen(
        image_id=truth.image_id,
        phrases=question.prompt.phrases if free else (),
        phrase_ids=question.phrase_ids.cpu(),
        true_boxes=original_boxes(question, truth).float().cpu(),
        shows=truth.shows.cpu(),
        crowd=truth.crowd.cpu(),
        found=Detections(
            found.boxes.float().cpu(), found.scores.float().cpu(), found.phrases.cpu()
        ),
    )


def _phrases_per_chunk(positive_map: Tensor, chunk_sizes: Sequence[int]) -> list[int]:
    """Count the phrases with a token in each part of the caption's tokens."""
    parts = torch.split(positive_map, list(chunk_sizes), dim=1)
    return [int(part.any(1).sum()) for part in parts]
