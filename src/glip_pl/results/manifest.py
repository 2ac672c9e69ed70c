"""The manifest of a test run: everything that decides what its scores mean.

What `protocol` gives for each test set must be equal before two scores may be compared; what
`circumstances` gives for the run says which model it was, and on what it ran.
"""

import hashlib
import inspect
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.cli import SaveConfigCallback
from torch import Tensor
from torchmetrics import Metric

from glip_pl.data import GroundingDataModule, GroundingDataset
from glip_pl.data.formats.common.tar_files import read_bytes
from glip_pl.inference.postprocess import PostProcess
from glip_pl.results.predictions import Seen
from glip_pl.system.download import file_sha256
from glip_pl.system.machine import device_name
from glip_pl.training.evaluation import Evaluated
from glip_pl.weights import hashes

PACKAGES = (
    "glip-pl",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "transformers",
    "torchmetrics",
    "faster-coco-eval",
    "numpy",
)
# So many captions are written out; of more, as phrase grounding has, a hash must do.
_CAPTIONS = 20


def protocol(
    data: GroundingDataModule,
    dataset: GroundingDataset,
    *,
    metric: Metric,
    postprocess: PostProcess,
    seen: Sequence[Seen],
    captions: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Describe how one set was tested.

    Args:
        data: For the root and the resize.
        dataset: The set.
        metric: What scored it.
        postprocess: How scores became detections.
        seen: The images that were tested on, all of them.
        captions: The prompts that were used, with the number of phrases in each of their chunks.

    Returns:
        A record for JSON. Its paths are for people; all else must be equal to compare two runs.
    """
    files = image_files(dataset)
    tested = [files[image.image_id] for image in seen]
    transform = data.eval_transform
    return {
        "dataset": type(dataset).__name__,
        "annotations": {
            "file": str(dataset.annotations),
            "sha256": _hash_of(data.root / dataset.annotations),
        },
        "images": {
            "folder": str(dataset.images),
            "count": len(seen),
            "sha256": _listing(data.root / dataset.images, tested),
            "sha256_of": "the names and sizes in bytes of the image files, not their contents",
        },
        "categories": {str(i): name for i, name in dataset.names_by_id.items()},
        "prompts": _prompts(dataset, captions),
        "resize": {"short_side": transform.short_sides[0], "max_side": transform.max_side},
        "postprocess": asdict(postprocess),
        "metric": {
            "class": type(metric).__name__,
            "settings": _settings(metric),
            **_groups(metric),
        },
    }


def circumstances(trainer: Trainer, task: Evaluated) -> dict[str, Any]:
    """Describe the model of a run and what it ran on; a record for JSON."""
    # NumPy, which hashes the bytes, does not know bf16.
    state = {
        name: value.detach().cpu().view(torch.int16)
        if value.dtype == torch.bfloat16
        else value.cpu()
        for name, value in task.model.state_dict().items()
    }
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "weights": {"sha256": _digest(hashes(state)), "tensors": len(state)},
        "seed": int(seed) if seed else None,
        "precision": str(trainer.precision),
        "device": _device(trainer),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "configuration": _configuration(trainer, task),
    }


def image_files(dataset: GroundingDataset) -> dict[int, Path]:
    """Return the image file of each id of a loaded set."""
    records = dataset.records
    files = (dataset.folder / name for name in records.file_names())
    return dict(zip(records.image_ids.tolist(), files, strict=True))


def _prompts(dataset: GroundingDataset, captions: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    template = getattr(dataset, "template", None)
    return {
        "template": None if template is None else asdict(template),
        "count": len(captions),
        # How many phrases stand in each part that the text encoder reads at once.
        "phrases_per_chunk": [list(sizes) for sizes in captions.values()][:_CAPTIONS],
        "captions": list(captions)[:_CAPTIONS],
        "sha256": _digest({caption: list(sizes) for caption, sizes in captions.items()}),
    }


def _settings(metric: Metric) -> dict[str, Any]:
    """Return the arguments that a metric keeps under their own names, as far as they are plain."""
    named = {
        name: getattr(metric, name)
        for name in inspect.signature(type(metric).__init__).parameters
        if hasattr(metric, name)
    }
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in named.items()
        if isinstance(value, str | int | float | tuple | list | None)
    }


def _groups(metric: Metric) -> dict[str, dict[str, list[int]]]:
    """Return the category ids of the groups that a metric averages over, where it has any."""
    groups = getattr(metric, "groups", None)
    return {"groups": {name: sorted(ids) for name, ids in groups.items()}} if groups else {}


def _hash_of(path: Path) -> str:
    """SHA-256 of a file, or of the listing of a folder of annotation files."""
    if path.is_dir():
        return _listing(path, [file for file in path.rglob("*") if file.is_file()])
    return file_sha256(path)


def _listing(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 of the names, below a folder, and sizes of files."""
    sizes = {
        os.path.relpath(path, folder): path.stat().st_size
        if path.is_file()
        else len(read_bytes(path))  # It lies in a tar file.
        for path in files
    }
    return _digest({name: sizes[name] for name in sorted(sizes)})


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, ensure_ascii=False).encode()).hexdigest()


def _device(trainer: Trainer) -> str:
    """Return in words what the run was on."""
    root = trainer.strategy.root_device
    threads = f", {torch.get_num_threads()} threads each" if root.type == "cpu" else ""
    return f"{trainer.world_size} x {root.type} ({device_name(root)}{threads})"


def _hashable(value: Tensor) -> Tensor:
    """Return the same bytes in a type that NumPy knows, which bf16 is not."""
    value = value.detach().cpu()
    return value.view(torch.int16) if value.dtype == torch.bfloat16 else value


def _configuration(trainer: Trainer, task: Evaluated) -> dict[str, Any]:
    """Return all options of a run of the command line, or of the model where Python started it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SaveConfigCallback):
            text = callback.parser.dump(callback.config, skip_none=False)
            options: dict[str, Any] = yaml.safe_load(text)
            return options
    return {"model": json.loads(json.dumps(dict(task.hparams), default=_plain))}


def _plain(value: Any) -> str:
    return "tensor" if isinstance(value, Tensor) else str(value)
