"""Adapters as files of their own: small, with the hash of the weights that they were made for.

A file is safetensors: per weight the numbers of its addition, named as the weight is, and in the
header the SHA-256 of the base, so that an adapter cannot be added to other weights unnoticed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glip_pl.tuning.checkpoint import UNMERGED
from glip_pl.tuning.lora import base_state, merged_state

_FORM = "glip_pl.adapter.1"
_NETWORK = "model."  # Where a training run's state dict has the network.
# "fusion.exchange.0.query.parametrizations.weight.0.down"
_ADDITION = re.compile(r"^(|.*\.)parametrizations\.([^.]+)\.(\d+)\.([a-z]+)$")


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and numbers of a state dict, offsets of a tuned prompt left out."""
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        if not name.startswith("prompt."):
            numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            total.update(name.encode() + b"\n" + numbers.tobytes())
    return total.hexdigest()


def save_adapter(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write what a run with ``tune: lora`` has learned.

    Args:
        checkpoint: Of that run.
        path: A ``.safetensors`` file.

    Raises:
        ValueError: The run had no adapters, or the file exists.
    """
    unmerged: Mapping[str, Tensor] = checkpoint.get(UNMERGED, {})
    if not unmerged:
        raise ValueError(
            "the checkpoint has no adapters of its own; train with --model.tuning.mode=lora, or "
            "use the whole checkpoint"
        )
    if path.exists():
        raise ValueError(f"{str(path)!r} exists already; name a new file, or remove it first")
    base = {**checkpoint["state_dict"], **base_state(unmerged)}
    own = {
        name.removeprefix(_NETWORK): value.contiguous()
        for name, value in unmerged.items()
        if _ADDITION.match(name)
    }
    digest = state_digest(_of_network(base))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(own, path, metadata={"form": _FORM, "base": digest})


def with_adapters(base: Mapping[str, Tensor], paths: Sequence[Path]) -> dict[str, Tensor]:
    """Merge adapters into the state dict of a network; several add up.

    Raises:
        ValueError: A file is none, or belongs to other weights.
    """
    digest, state = state_digest(base), dict(base)
    for number, path in enumerate(paths):
        for name, value in _read(path, digest).items():
            found = _ADDITION.match(name)
            weight = found[1] + found[2] if found else ""
            if found is None or weight not in base:
                raise ValueError(f"{str(path)!r} has {name!r}, which the weights lack")
            stem = f"{found[1]}parametrizations.{found[2]}"
            state.pop(weight, None)
            state[f"{stem}.original"] = base[weight]
            state[f"{stem}.{number}{found[3]}.{found[4]}"] = value
    return merged_state(state)


def _of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(_NETWORK): value
        for name, value in state.items()
        if name.startswith(_NETWORK)
    }


def _read(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as an adapter ({error}); give a file that "
            "`glip adapter save` wrote"
        ) from error
    if said.get("form") != _FORM:
        raise ValueError(f"{str(path)!r} is no adapter; give a file that `glip adapter save` wrote")
    if said["base"] != digest:
        raise ValueError(
            f"{str(path)!r} was made for the weights {said['base'][:12]}, but these are "
            f"{digest[:12]}; add it to the weights that its run started from"
        )
    return tensors
