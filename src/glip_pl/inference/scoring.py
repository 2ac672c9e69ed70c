"""Whole sets through a model: what it finds in them, and how well, without a trainer."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch

from glip_pl.data import GroundingDataModule, GroundingDataset
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess
from glip_pl.model import GLIP
from glip_pl.structures import Batch, Detections

Split = Literal["val", "test"]


def open_sets(
    data: GroundingDataModule, model: GLIP, split: Split
) -> Mapping[str, GroundingDataset]:
    """Load the sets of a split, ready for the model's tokenizer.

    Raises:
        ValueError: There are none, or they cannot be used.
    """
    data.prepare_data()
    data.setup("validate" if split == "val" else "test")
    data.connect(model.text.tokenizer)
    sets = data.val if split == "val" else data.test
    if not sets:
        raise ValueError(f"data.{split} names no set; choose the other split, or add one")
    return sets


@torch.inference_mode()
def detected(
    model: GLIP,
    data: GroundingDataModule,
    split: Split,
    *,
    postprocess: PostProcess | None = None,
) -> Iterator[tuple[str, Batch, list[Detections]]]:
    """Detect in every image of the sets of a split, which `open_sets` loaded.

    Yields:
        The name of the set, a batch with its truth, and what was found in each of its images.
    """
    detector = Detector(model.eval(), postprocess or PostProcess())
    device = next(model.parameters()).device
    names, loaders = (
        (data.val_names, data.val_dataloader())
        if split == "val"
        else (data.test_names, data.test_dataloader())
    )
    for name, loader in zip(names, loaders, strict=True):
        for batch in loader:
            moved = batch.to(device)
            yield name, moved, detector(moved)


def score_sets(
    model: GLIP,
    data: GroundingDataModule,
    split: Split,
    *,
    postprocess: PostProcess | None = None,
) -> dict[str, dict[str, float]]:
    """Score a model on the sets of a split: per set its metrics, the first is *the* score."""
    metrics = {name: s.make_metric() for name, s in open_sets(data, model, split).items()}
    for name, batch, found in detected(model, data, split, postprocess=postprocess):
        metrics[name].update(
            [d.to("cpu") for d in found],
            [q.to("cpu") for q in batch.questions],
            [t.to("cpu") for t in batch.known()],
        )
    return {
        name: {key: float(value) for key, value in metric.compute().items()}
        for name, metric in metrics.items()
    }
