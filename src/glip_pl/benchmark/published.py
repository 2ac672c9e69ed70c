"""The models that can be timed, with random weights: they time the same as trained ones."""

from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.cli import instantiate_module
from torch import nn

from glip_pl.configs.names import DEFAULT_FUSION, known
from glip_pl.configs.reading import read_yaml
from glip_pl.plugins import fusion_plugins, options_of
from glip_pl.training.task import GroundingTask
from glip_pl.weights.official.architecture import GLIP_L, GLIP_T, GLIP_T_A, Architecture
from glip_pl.weights.transformers_form.architecture import DINO_ARCHITECTURES, DinoArchitecture

ARCHITECTURES: dict[str, Architecture | DinoArchitecture] = {
    "glip_t_a": GLIP_T_A,
    "glip_t": GLIP_T,
    "glip_l": GLIP_L,
    **DINO_ARCHITECTURES,
}


def describe(model: str, fusion: str | None = None) -> dict[str, Any]:
    """Describe a model in the words of `GroundingTask`.

    Args:
        model: A published architecture, or a model of `glip fit` that works with any fusion.
        fusion: The plugin of the latter; deep by default.

    Raises:
        ValueError: A published architecture has a fusion of its own, or there is no such plugin.
    """
    if model in ARCHITECTURES:
        if fusion is not None:
            raise ValueError(
                f"--model={model} has a fusion of its own; leave --fusion out, or time "
                "--model=resnet50"
            )
        return ARCHITECTURES[model].hyper_parameters()
    config = _read(known("model")[model])
    described = dict(config["model"])
    for part, without in (("backbone", {"weights": None}), ("text", {"load_weights": False})):
        described[part] = _at_random(described[part], without)
    described["fusion"] = _fusion(fusion or DEFAULT_FUSION, config)
    return described


def random_task(described: dict[str, Any]) -> GroundingTask:
    """Build a described model with random weights, the same at every call.

    GLIP's head starts unbiased, so that a random model has scores to rank and boxes to suppress.
    """
    fusion_plugins()
    torch.manual_seed(0)
    task: GroundingTask = instantiate_module(GroundingTask, described)
    if task.model.fusion.own_head() is not None:
        return task
    nn.init.zeros_(task.model.head.get_parameter("prior_bias"))
    # Scales at which words and places make a difference, as they do in a trained model.
    nn.init.constant_(task.model.head.get_parameter("log_temperature"), -3.0)
    return task


def _at_random(part: dict[str, Any], without: dict[str, Any]) -> dict[str, Any]:
    """Leave out the weights that a part of a description would start from."""
    given = part.get("init_args", {})
    # A name, such as "pretrained", also says how large the part is.
    starts = without if set(given) & {"weights", "pretrained"} else {}
    return {**part, "init_args": {**given, **starts}}


def _fusion(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Describe a plugin with the options of its YAML, and those that a model's file gives to any.

    Raises:
        ValueError: There is no such plugin.
    """
    names = known("fusion")
    if name not in names:
        raise ValueError(f"--fusion={name!r} is not known; choose one of {', '.join(names)}")
    own = _read(names[name])["model"]["fusion"]
    takes = options_of(own["class_path"])
    widths = {width: config["model"][width] for width in ("d_model", "d_text")}
    defaults = {k: v for k, v in config.get("fusion_defaults", {}).items() if k in takes}
    return {**own, "init_args": {**defaults, **own.get("init_args", {}), **widths}}


def _read(path_or_text: str) -> dict[str, Any]:
    """Read a configuration; a plugin without a file has a text."""
    is_path = path_or_text.endswith(".yaml")
    read: dict[str, Any] = (
        read_yaml(Path(path_or_text)) if is_path else yaml.safe_load(path_or_text)
    )
    return read
