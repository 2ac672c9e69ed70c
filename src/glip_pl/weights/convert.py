"""Weights of any kind to a folder, and models of official GLIP back to a .pth."""

from collections import Counter
from pathlib import Path
from typing import Literal

import torch

from glip_pl.backbones import SwinBackbone
from glip_pl.system.aside import file_aside, refuse_existing
from glip_pl.system.screen import next_prediction, write
from glip_pl.weights.conversion import Conversion
from glip_pl.weights.folder import DESCRIPTION, MODEL, RECEIPT, TEXT, write_folder
from glip_pl.weights.network import build_network
from glip_pl.weights.official.conversion import to_official
from glip_pl.weights.reader import (
    convert_official,
    is_official,
    of_official,
    of_transformers,
    read_weights,
)
from glip_pl.weights.transformers_form.folder import (
    convert_transformers,
    is_transformers,
    write_transformers,
)
from glip_pl.weights.weights import Weights

_FILES = (".pth", ".pt")

Form = Literal["glip_pl", "transformers"]


def convert(
    source: str, target: str, *, form: Form = "glip_pl", trust: list[str] | None = None
) -> None:
    """Convert weights as `glip convert` says, whose arguments these are.

    Raises:
        ValueError: The target exists, or the source is not of that form.
    """
    path = Path(target)
    refuse_existing(path)  # Before anything is read.
    if path.suffix in _FILES:
        _write_official(source, path, trust or [])
    elif form == "transformers":
        weights = read_weights(source, trust=trust or [])
        network = weights.build(trust=trust or [])
        family = write_transformers(network, weights.hyper_parameters, path).family
        write(f"{target}: a {family} in the form of transformers")
    elif is_official(source) or is_transformers(source):
        _write_converted(source, path)
    else:
        weights = read_weights(source, trust=trust or [])
        network = weights.build(trust=trust or [])
        write_folder(path, weights, network.text)
        write(f"{target}: {len(weights.state)} tensors; {_files(path)}")
    if path.suffix not in _FILES:
        write(next_prediction(target))


def _write_converted(source: str, target: Path) -> None:
    if is_transformers(source):
        dino, conversion, text_files = convert_transformers(source)
        weights = of_transformers(source, dino, conversion, text_files)
    else:
        architecture, conversion = convert_official(source)
        weights = of_official(source, architecture, conversion)
    with torch.device("meta"):  # Its tokenizer is wanted, not its numbers.
        text = build_network(weights.hyper_parameters).text
    write_folder(target, weights, text, sources=conversion.sources, dropped=conversion.dropped)
    _report(source, target, weights, conversion)


def _write_official(source: str, target: Path, trust: list[str]) -> None:
    weights = read_weights(source, trust=trust)
    model = weights.build(trust=trust)
    if not isinstance(model.backbone, SwinBackbone) or not hasattr(model.text, "bert"):
        raise ValueError(
            f"{source!r} has the backbone {type(model.backbone).__name__} and the text encoder "
            f"{type(model.text).__name__}; official GLIP has a Swin and a BERT only"
        )
    state = to_official(
        model, deep=any(name.startswith("fusion.exchange.") for name in model.state_dict())
    )
    with file_aside(target) as part:
        torch.save({"model": state}, part)
        refuse_existing(target)
    write(f"{target}: {len(state)} tensors under the names of official GLIP")


def _report(source: str, target: Path, weights: Weights, conversion: Conversion) -> None:
    described = weights.hyper_parameters
    mapped = sum(len(names) for names in conversion.sources.values())
    left = len(conversion.dropped)
    write(
        f"{source}: a Swin of {described['backbone']['init_args']['embed_dim']} channels, "
        f"{described['fusion']['class_path'].rpartition('.')[2]} of "
        f"{described['fusion']['init_args']['num_layers']} "
        "layers"
    )
    write(f"{mapped + left} tensors: {mapped} mapped, {left} left out on purpose, 0 unknown")
    parts = Counter(name.partition(".")[0] for name in conversion.sources)
    for part, count in parts.items():
        write(f"  mapped    {count:4}  to {part}")
    for reason, count in Counter(conversion.dropped.values()).items():
        write(f"  left out  {count:4}  {reason}")
    write(f"{target}: {_files(target)}")


def _files(folder: Path) -> str:
    size = (folder / MODEL).stat().st_size
    return f"{MODEL} ({size / 1e6:.0f} MB), {DESCRIPTION}, {TEXT}/, {RECEIPT}"
