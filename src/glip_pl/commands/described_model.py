"""The model of the weights that ``glip fit`` starts from, where none is named."""

import atexit
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile

import yaml

from glip_pl.configs.names import DescribedModel

# How a run learns, which the weights of another do not decide.
_OF_A_RUN = ("optimizer", "schedule", "tuning", "denoising", "_instantiator")


def described_model(args: Sequence[str]) -> DescribedModel | None:
    """Return the model of ``--weights``, if these are given and no ``--model`` or ``--fusion`` is.

    Raises:
        ValueError: The weights cannot be read.
    """
    named = {arg.partition("=")[0] for arg in args}
    source = _value("--weights", args)
    if source is None or named & {"--model", "--fusion"}:
        return None
    from glip_pl.weights import read_weights
    from glip_pl.weights.network import PARTS, without_start

    weights = read_weights(source, trust=_listed(_value("--trust", args) or "[]"))
    described = {
        key: without_start(value) if key in PARTS else value
        for key, value in weights.hyper_parameters.items()
        if key not in _OF_A_RUN
    }
    # Nothing but what it was built with: what files of models give to any plugin is not its own.
    text = json.dumps({"model": described, "fusion_defaults": {}})
    # In a file, since the parser would look for one of this name; it is read before the run.
    with NamedTemporaryFile("w", prefix="glip_model_", suffix=".json", delete=False) as file:
        file.write(text)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return DescribedModel(source, described["fusion"]["class_path"], file.name)


def _listed(text: str) -> list[str]:
    """Read a list as it is typed; one of a lone value needs no brackets."""
    return list(yaml.safe_load(text)) if text.startswith("[") else [text]


def _value(option: str, args: Sequence[str]) -> str | None:
    """Return what an option was given, in either way of writing."""
    apart = [value for name, value in pairwise([*args, ""]) if name == option]
    joined = [arg.partition("=")[2] for arg in args if arg.startswith(f"{option}=")]
    return next(iter(joined + apart), None)
