"""``glip calibrate``: thresholds and the meaning of scores, found on a set."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from glip_pl.calibration.calibration import Calibration, calibrate_scores
from glip_pl.calibration.judged import judge_detections
from glip_pl.calibration.reliability import BINS
from glip_pl.data import CategoryDetection, GroundingDataset
from glip_pl.data.descriptors import read_descriptor
from glip_pl.inference.chart import line_chart
from glip_pl.inference.scoring import Split, detected, open_sets
from glip_pl.weights import read_weights
from glip_pl.weights.run_checkpoint import read_checkpoint

ABOUT = "about.json"


def calibrate_weights(
    weights: str,
    data: str,
    *,
    split: Split,
    root: str | None,
    precision: float | None,
    iou: float,
    output: Path,
) -> Calibration:
    """Calibrate a model on the first set of a split, and write what was found.

    Args:
        weights: A run's checkpoint or a folder of weights; gains the thresholds.
        data: A description of data; see `read_descriptor`.
        split: Which sets of it; those to validate on, so that the test stays a test.
        root: Folder of the data, where it is another one.
        precision: See `best_threshold`.
        iou: Overlap from which on a true box counts as found.
        output: Folder for the figures and the diagram.

    Raises:
        ValueError: The set has no categories, or weights of this kind hold no thresholds.
    """
    if precision is not None and not 0 < precision <= 1:
        raise ValueError(f"--precision={precision} must lie between 0 and 1, for example 0.9")
    _check_target(weights)
    model, described = read_weights(weights).build(), read_descriptor(data, root=root)
    sets = open_sets(described, model, split)
    name, dataset = next(iter(sets.items()))
    names = _names(dataset)
    judged = judge_detections(
        ((batch, found) for of, batch, found in detected(model, described, split) if of == name),
        iou=iou,
    )
    calibration = calibrate_scores(judged, names, precision=precision)
    record = {"set": name, "split": split, "iou": iou, **calibration.record()}
    keep_thresholds(weights, record)
    output.mkdir(parents=True, exist_ok=True)
    (output / "calibration.json").write_text(json.dumps(record, indent=1) + "\n")
    lines = {"ideal": [(0.0, 0.0), (1.0, 1.0)]}
    lines |= {
        f"{when} (ECE {error:.3f})": [(mean, share) for mean, share, _ in bins]
        for when, error, bins in (
            ("before", calibration.error[0], calibration.before),
            ("after", calibration.error[1], calibration.after),
        )
    }
    title = f"{name}: {sum(n for *_, n in calibration.before)} detections in {BINS} bins"
    diagram = line_chart(lines, title=title, x="score", y="share that is right")
    Image.fromarray(diagram).save(output / "reliability.png")
    return calibration


def keep_thresholds(weights: str, record: dict[str, Any]) -> None:
    """Store a calibration with the weights, which are whole or as before at any moment."""
    thresholds = {name: round(t["value"], 4) for name, t in record["thresholds"].items()}
    found = record["temperature"]
    scores = {"score_temperature": found["temperature"], "score_shift": found["shift"]}
    kept = {"thresholds": thresholds, **scores, "calibration": record}
    path = Path(weights)
    if path.is_dir():
        about = path / ABOUT
        known = json.loads(about.read_text()) if about.is_file() else {}
        text = json.dumps({**known, **kept}, indent=1, ensure_ascii=False) + "\n"
        _replace(about, lambda file: file.write_text(text))
    else:
        checkpoint = {**read_checkpoint(weights), **kept}
        _replace(path, lambda file: torch.save(checkpoint, file))


def _replace(path: Path, write: Any) -> None:
    """Write a file beside another, and put it in its place once it is whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(name))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _check_target(weights: str) -> None:
    if not Path(weights).is_dir() and not weights.endswith(".ckpt"):
        raise ValueError(
            f"{weights!r} cannot hold thresholds; turn it into a folder by `glip convert` first, "
            "and calibrate that, or a .ckpt of `glip fit`"
        )


def _names(dataset: GroundingDataset) -> dict[int, str]:
    if not isinstance(dataset, CategoryDetection):
        raise ValueError(
            f"{dataset.annotations!r} has captions; thresholds are for names, so calibrate on "
            "a set with categories"
        )
    return dataset.names_by_id
