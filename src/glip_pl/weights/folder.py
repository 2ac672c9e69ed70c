"""A folder of weights: safetensors, the model's description, its tokenizer, names and a card.

``model.safetensors``, ``model.yaml`` (the description, see `glip_pl.weights.network`), ``text/``
(configuration and vocabulary of the text encoder), ``about.json`` (names, thresholds and sizes),
``receipt.json`` (where each tensor comes from, and its hash) and ``README.md`` for people.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import glip_pl
from glip_pl.configs.class_paths import with_current_paths
from glip_pl.system.aside import folder_aside
from glip_pl.system.state_dicts import refuse_non_finite
from glip_pl.text import TextEncoder
from glip_pl.weights.about import About
from glip_pl.weights.allowed_classes import check_class_paths
from glip_pl.weights.card import card_of
from glip_pl.weights.weights import Weights, hashes

MODEL, DESCRIPTION, TEXT, RECEIPT = "model.safetensors", "model.yaml", "text", "receipt.json"
EXPORTED = "description.json"  # Of `glip export`; its reader is no import of this module.
ABOUT, CARD = "about.json", "README.md"
_MOST_BYTES = 2**20  # Of a description; far more than any has.
_DEEPEST = 100  # Brackets in brackets, likewise.


def read_folder(folder: Path, *, trust: Sequence[str] = (), name: str | None = None) -> Weights:
    """Read a folder, and check every tensor against the receipt.

    Args:
        folder: What `write_folder` wrote.
        trust: Modules whose classes it may name, beside those of plugins.
        name: What the user called it.

    Raises:
        ValueError: A file is missing or damaged, a tensor has changed, or the description names a
            class that is not allowed.
    """
    source = name or str(folder)
    lacking = [n for n in (MODEL, DESCRIPTION, RECEIPT) if not (folder / n).is_file()]
    if lacking and (folder / EXPORTED).is_file():
        raise ValueError(
            f"{source!r} is an exported model, which runs without PyTorch: open it by "
            f"glip_pl.runtime.Runtime({source!r}) or `glip serve --weights={source}`"
        )
    if lacking:
        raise ValueError(
            f"the folder {source!r} holds no weights: it lacks {', '.join(lacking)}; pass one "
            "that `glip convert` wrote"
        )
    described = _description(folder / DESCRIPTION)
    check_class_paths(described, source, trust)
    text = described["text"]
    if isinstance(text, dict) and isinstance(text.get("init_args"), dict):
        if "pretrained" in text["init_args"]:
            text["init_args"]["pretrained"] = str(folder / TEXT)
    try:
        state = load_file(folder / MODEL)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{str(folder / MODEL)!r} is damaged ({error}); convert the checkpoint again"
        ) from error
    recorded, actual = _receipt(folder / RECEIPT), hashes(state)
    changed = [n for n in sorted({*recorded, *actual}) if recorded.get(n) != actual.get(n)]
    if changed:
        raise ValueError(
            f"{', '.join(changed[:3])} ({len(changed)} in all) of {str(folder / MODEL)!r} are not "
            f"what {RECEIPT} says; convert the checkpoint again"
        )
    refuse_non_finite(state, f"{source!r} is not loaded")
    return Weights(described, state, source, About.read(folder / ABOUT))


def write_folder(
    target: Path,
    weights: Weights,
    text: TextEncoder,
    *,
    sources: Mapping[str, Sequence[str]] | None = None,
    dropped: Mapping[str, str] | None = None,
) -> None:
    """Write weights of any model as a folder, which is whole or not there.

    Args:
        target: The folder; it must not exist.
        weights: What to write.
        text: The model's text encoder, whose tokenizer goes along.
        sources: For the receipt, the official names that each tensor comes from.
        dropped: For the receipt, official tensors that were left out, with the reason.

    Raises:
        ValueError: The target exists, a number is not finite, or the disk does not take it.
    """
    refuse_non_finite(weights.state, f"{str(target)!r} is not written")
    with folder_aside(target) as folder:
        (folder / TEXT).mkdir()
        described = _plain(weights.hyper_parameters)
        arguments = text.write_files(folder / TEXT)
        described["text"]["init_args"] = {**described["text"].get("init_args", {}), **arguments}
        save_file(_separate(weights.state), folder / MODEL)
        (folder / DESCRIPTION).write_text(yaml.safe_dump(described, sort_keys=False))
        weights.about.write(folder / ABOUT)
        (folder / CARD).write_text(card_of(weights, target.name))
        receipt = {
            "source": Path(weights.source).name,
            "glip_pl": glip_pl.__version__,
            "tensors": _tensors(weights.state, sources or {}),
            "dropped": dict(dropped or {}),
        }
        (folder / RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n")


def _tensors(state: Mapping[str, Tensor], sources: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    digests = hashes(state)
    return {
        name: {
            **({"official": list(sources[name])} if name in sources else {}),
            "shape": list(value.shape),
            "sha256": digests[name],
        }
        for name, value in state.items()
    }


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy each tensor to memory of its own, as safetensors asks."""
    return {
        name: value if value.is_contiguous() and value.storage_offset() == 0 else value.clone()
        for name, value in state.items()
    }


def _plain(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description as JSON would hold it: no tuples, and no list that occurs twice."""
    kept = {key: value for key, value in described.items() if key != "_instantiator"}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


def _description(path: Path) -> dict[str, Any]:
    """Read a ``model.yaml``; its aliases could stand for more than memory holds."""
    again = "convert or save the weights again"
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {_MOST_BYTES} bytes; {again}")
    try:
        text = path.read_text()
        if _depth(text) > _DEEPEST:
            raise ValueError(f"brackets in more than {_DEEPEST} brackets")
        aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
        described = None if aliases else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{str(path)!r} is damaged ({reason}); {again}") from error
    if not isinstance(described, dict) or not {"backbone", "text", "fusion"} <= set(described):
        raise ValueError(
            f"{str(path)!r} is damaged: it describes no backbone, text encoder and fusion; {again}"
        )
    current: dict[str, Any] = with_current_paths(described)
    return current


def _depth(text: str) -> int:
    """Count how deep brackets lie in each other; the parser's time grows with its square."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _receipt(path: Path) -> dict[str, str]:
    try:
        tensors = json.loads(path.read_bytes())["tensors"]
        return {str(name): str(entry["sha256"]) for name, entry in tensors.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {str(error)[:100]}); convert or "
            "save the weights again"
        ) from error
