"""Checkpoints of official GLIP to folders of weights, and back."""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

import glip_pl
from glip_pl.backbones import SwinBackbone
from glip_pl.text.bert_files import BERT_BASE, read_bert
from glip_pl.weights.official.architecture import Architecture
from glip_pl.weights.official.conversion import Conversion, to_official
from glip_pl.weights.reader import (
    DESCRIPTION,
    MODEL,
    RECEIPT,
    TEXT,
    convert_official,
    hashes,
    read_run,
    read_weights,
)
from glip_pl.weights.run_checkpoint import read_checkpoint


def convert(source: str, target: str) -> None:
    """Convert a checkpoint of official GLIP to a folder of weights, or such a folder back.

    Args:
        source: An official .pth file or the name of a published checkpoint (glip_t_a, glip_t_b,
            glip_t_c, glip_t, glip_l); or, for the way back, a folder of weights or a .ckpt that
            `glip fit` wrote with such a model.
        target: The folder to write; for the way back, the .pth file to write.
    """
    path = Path(target)
    if path.exists():
        raise ValueError(f"{target!r} exists already; name a new place, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir() or source.endswith(".ckpt"):
        _write_official(source, path)
    else:
        _write_folder(source, path)


def _write_folder(source: str, target: Path) -> None:
    architecture, conversion = convert_official(source)
    # Written beside the target and then renamed, so that a folder is whole or not there.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        folder = Path(name) / "weights"
        folder.mkdir()
        config, tokenizer, _ = read_bert(BERT_BASE, load_weights=False)
        config.save_pretrained(folder / TEXT)
        tokenizer.save_pretrained(folder / TEXT)
        save_file(_separate(conversion.state), folder / MODEL)
        described = architecture.hyper_parameters()
        described["text"]["init_args"]["pretrained"] = TEXT
        (folder / DESCRIPTION).write_text(yaml.safe_dump(described, sort_keys=False))
        receipt = _receipt(source, conversion)
        (folder / RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n")
        folder.rename(target)
    _report(source, target, architecture, conversion)


def _write_official(source: str, target: Path) -> None:
    if Path(source).is_dir():
        task = read_weights(source).build()
    else:
        read_checkpoint(source)
        task = read_run(source)
    model = task.model
    if not isinstance(model.backbone, SwinBackbone) or not hasattr(model.text, "bert"):
        raise ValueError(
            f"{source!r} has the backbone {type(model.backbone).__name__} and the text encoder "
            f"{type(model.text).__name__}; official GLIP has a Swin and a BERT only"
        )
    # Deep fusion is known by its layers where image and text exchange features.
    deep = any(name.startswith("fusion.exchange.") for name in model.state_dict())
    state = to_official(model, deep=deep)
    part = target.with_name(f".{target.name}.part")
    torch.save({"model": state}, part)
    shutil.move(part, target)
    print(f"{target}: {len(state)} tensors under the names of official GLIP")


def _separate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor memory of its own, as safetensors asks."""
    return {
        name: value if value.is_contiguous() and value.storage_offset() == 0 else value.clone()
        for name, value in state.items()
    }


def _receipt(source: str, conversion: Conversion) -> dict[str, Any]:
    digests = hashes(conversion.state)
    return {
        "source": Path(source).name,
        "glip_pl": glip_pl.__version__,
        "tensors": {
            name: {
                "official": list(conversion.sources[name]),
                "shape": list(value.shape),
                "sha256": digests[name],
            }
            for name, value in conversion.state.items()
        },
        "dropped": conversion.dropped,
    }


def _report(source: str, target: Path, architecture: Architecture, conversion: Conversion) -> None:
    mapped = sum(len(names) for names in conversion.sources.values())
    left = len(conversion.dropped)
    meeting = "in every layer" if architecture.deep else "in the head alone"
    print(
        f"{source}: a Swin of {architecture.embed_dim} channels, a tower of "
        f"{architecture.num_layers} layers, image and text meet {meeting}"
    )
    print(f"{mapped + left} tensors: {mapped} mapped, {left} left out on purpose, 0 unknown")
    parts = Counter(name.partition(".")[0] for name in conversion.sources)
    for part, count in parts.items():
        print(f"  mapped    {count:4}  to {part}")
    for reason, count in Counter(conversion.dropped.values()).items():
        print(f"  left out  {count:4}  {reason}")
    size = (target / MODEL).stat().st_size
    print(f"{target}: {MODEL} ({size / 1e6:.0f} MB), {DESCRIPTION}, {TEXT}/, {RECEIPT}")
