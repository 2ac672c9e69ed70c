"""Folders as transformers writes them: ``config.json``, ``model.safetensors``, a tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from glip_pl.model import GLIP
from glip_pl.system.aside import folder_aside
from glip_pl.text import PhraseBertEncoder
from glip_pl.text.bert_files import BERT_BASE
from glip_pl.weights.conversion import Conversion
from glip_pl.weights.network import build_network
from glip_pl.weights.transformers_form.architecture import DinoArchitecture
from glip_pl.weights.transformers_form.conversion import from_transformers, to_transformers
from glip_pl.weights.transformers_form.published import fetch_dino, is_published_dino

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_VOCABULARIES = ("tokenizer.json", "vocab.txt")
# Of BERT_BASE, whose words a folder without a vocabulary gets.
_BERT_WIDTH = 768


def is_transformers(source: str) -> bool:
    """Return whether weights lie there in transformers' form, or are published in it."""
    folder = _folder_of(source)
    return is_published_dino(source) or (
        (folder / CONFIG).is_file() and any((folder / name).is_file() for name in (WEIGHTS, INDEX))
    )


def convert_transformers(source: str) -> tuple[DinoArchitecture, Conversion, str]:
    """Read a checkpoint of the Grounding DINO family and convert it.

    Args:
        source: A folder, its ``model.safetensors``, or the name of a published checkpoint.

    Returns:
        The architecture, our tensors, and where configuration and vocabulary of its text lie.

    Raises:
        ValueError: Files are missing or damaged, or are of another model.
    """
    folder = fetch_dino(source) if is_published_dino(source) else _folder_of(source)
    try:
        described = json.loads((folder / CONFIG).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{str(folder / CONFIG)!r} is damaged ({error}); fetch it again"
        ) from error
    architecture = DinoArchitecture.of(described)
    has_words = any((folder / name).is_file() for name in _VOCABULARIES)
    if not has_words and architecture.d_text != _BERT_WIDTH:
        raise ValueError(
            f"{str(folder)!r} has neither of {', '.join(_VOCABULARIES)}, and its text encoder is "
            "not as wide as bert-base-uncased; put the tokenizer that it was trained with there"
        )
    text = str(folder) if has_words else BERT_BASE
    with torch.device("meta"):  # Names and shapes are enough.
        model = build_network(architecture.hyper_parameters(text))
    return architecture, from_transformers(_read_state(folder), model), text


def write_transformers(model: GLIP, described: Mapping[str, Any], target: Path) -> DinoArchitecture:
    """Write a model as transformers does, and return its architecture.

    Args:
        model: With its weights.
        described: Its description; see `glip_pl.weights.network`.
        target: A new place.

    Raises:
        ValueError: It is no member of the family, or the target exists or cannot be written.
    """
    state = to_transformers(model)
    architecture = DinoArchitecture.of_parameters(described)
    text = model.text
    assert isinstance(text, PhraseBertEncoder)
    bert = text.bert.config.to_dict()
    separate = {name: value.detach().clone().contiguous() for name, value in state.items()}
    with folder_aside(target) as folder:
        (folder / CONFIG).write_text(json.dumps(architecture.config(bert), indent=2) + "\n")
        text.tokenizer.write(folder)
        save_file(separate, folder / WEIGHTS, metadata={"format": "pt"})
    return architecture


def _folder_of(source: str) -> Path:
    path = Path(source)
    return path.parent if path.name == WEIGHTS and path.is_file() else path


def _read_state(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of one file, or of all files that an index lists."""
    names = [WEIGHTS]
    if not (folder / WEIGHTS).is_file():
        listed = json.loads((folder / INDEX).read_text())["weight_map"]
        names = sorted(set(listed.values()))
    state: dict[str, Tensor] = {}
    for name in names:
        try:
            state |= load_file(folder / name)
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{str(folder / name)!r} cannot be read ({error}); fetch it again"
            ) from error
    return {name: value.float() for name, value in state.items()}
