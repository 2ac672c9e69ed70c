"""The opener of weights: every command and the Python API read models of all kinds by it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from glip_pl.system.state_dicts import read_state_dict, refuse_non_finite
from glip_pl.weights.about import About
from glip_pl.weights.conversion import Conversion
from glip_pl.weights.folder import read_folder
from glip_pl.weights.hub import PREFIX, hub_folder
from glip_pl.weights.network import build_network
from glip_pl.weights.official.architecture import Architecture
from glip_pl.weights.official.conversion import from_official
from glip_pl.weights.published import PUBLISHED, fetch
from glip_pl.weights.run_checkpoint import (
    checked,
    is_run_checkpoint,
    load_safely,
    read_checkpoint,
)
from glip_pl.weights.transformers_form import DinoArchitecture
from glip_pl.weights.transformers_form.folder import convert_transformers, is_transformers
from glip_pl.weights.transformers_form.published import PUBLISHED_DINO
from glip_pl.weights.weights import Weights

_PATTERN = r"\\(?=\.)|\.\(.*"  # Of a name that is searched for, what is not part of the name.
_NETWORK = "model."  # Where a training run's state dict has the network.


def read_weights(source: str, *, trust: Sequence[str] = ()) -> Weights:
    """Read weights of any kind.

    Args:
        source: A checkpoint of a training run, a folder that `glip convert` wrote or one in the
            form of transformers (the Grounding DINO family), a file of official GLIP, the name of a
            published checkpoint, or a folder of either kind on the hub, as "hf:user/repo".
        trust: Modules whose classes they may name, beside those of plugins.

    Raises:
        ValueError: There is nothing there, it is none of these, or it is damaged.
    """
    if source.startswith(PREFIX):
        folder = hub_folder(source)
        if is_transformers(str(folder)):
            return of_transformers(source, *convert_transformers(str(folder)))
        return read_folder(folder, trust=trust, name=source)
    if is_transformers(source):
        return of_transformers(source, *convert_transformers(source))
    if Path(source).is_dir():
        return read_folder(Path(source), trust=trust)
    if Path(source).is_file() and Path(source).suffix != ".safetensors":
        loaded = load_safely(source)
        if is_run_checkpoint(loaded):
            return of_checkpoint(checked(loaded, source, trust=trust), source)
        del loaded  # What follows reads official files in its own way.
    if is_official(source):
        return of_official(source, *convert_official(source))
    return of_checkpoint(read_checkpoint(source, trust=trust), source)


def is_official(source: str) -> bool:
    """Whether weights are read as a file of official GLIP: all files but those of our runs."""
    path = Path(source)
    if source.startswith(PREFIX) or path.is_dir() or is_transformers(source):
        return False
    if not path.is_file():
        return path.suffix != ".ckpt"
    return path.suffix == ".safetensors" or not is_run_checkpoint(load_safely(path))


def of_official(source: str, architecture: Architecture, conversion: Conversion) -> Weights:
    """Describe what `convert_official` returned.

    Raises:
        ValueError: Numbers are not finite.
    """
    refuse_non_finite(conversion.state, f"{source!r} is not loaded")
    trained_on = PUBLISHED[source].trained_on.split(", ") if _is_published(source) else ()
    return Weights(
        architecture.hyper_parameters(),
        conversion.state,
        source,
        About(trained_on=tuple(trained_on)),
    )


def of_transformers(
    source: str, architecture: DinoArchitecture, conversion: Conversion, text: str
) -> Weights:
    """Describe what `convert_transformers` returned.

    Raises:
        ValueError: Numbers are not finite.
    """
    refuse_non_finite(conversion.state, f"{source!r} is not loaded")
    published = PUBLISHED_DINO.get(source)
    trained_on = tuple(published.trained_on.split(", ")) if published else ()
    return Weights(
        *(architecture.hyper_parameters(text), conversion.state, source),
        About(trained_on=trained_on),
    )


def of_checkpoint(checkpoint: dict[str, Any], source: str) -> Weights:
    """Take the weights out of what `read_checkpoint` returned."""
    described = {k: v for k, v in checkpoint["hyper_parameters"].items() if k != "_instantiator"}
    state = {
        name.removeprefix(_NETWORK): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(_NETWORK)
    }
    return Weights(described, state, source, About.of_checkpoint(checkpoint))


def convert_official(source: str) -> tuple[Architecture, Conversion]:
    """Read an official file, by path or published name, and convert it.

    Raises:
        ValueError: There is no such file, or it is not of official GLIP.
    """
    path = str(fetch(source)) if _is_published(source) else source
    state = read_state_dict(
        path,
        advice="pass a run's .ckpt, a folder of `glip convert`, an official file, hf:user/repo, "
        f"or one of the names {', '.join([*PUBLISHED, *PUBLISHED_DINO])}",
    )
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    try:
        architecture = Architecture.of(state)
    except KeyError as error:
        some = ", ".join(list(state)[:3])
        raise ValueError(
            f"{path!r} is not a checkpoint of official GLIP: it has no tensor "
            f"{re.sub(_PATTERN, '', error.args[0])!r} (it begins with {some}), and none of "
            "`glip fit`: it does not describe its model; pass weights of one of these"
        ) from error
    with torch.device("meta"):  # Names and shapes are enough.
        model = build_network(architecture.hyper_parameters())
    return architecture, from_official(state, model, deep=architecture.deep)


def _is_published(source: str) -> bool:
    return source in PUBLISHED and not Path(source).exists()
