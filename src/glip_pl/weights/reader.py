"""Weights apart from a training run: converted folders, official files, and published names.

A folder of weights, written by `glip convert`, holds ``model.safetensors``, ``model.yaml`` (the
model in the words of `GroundingTask`), ``text/`` (configuration and vocabulary of the text
encoder) and ``receipt.json`` (where each tensor comes from, and its hash).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.cli import instantiate_module
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from glip_pl.model import GLIP
from glip_pl.plugins import fusion_plugins
from glip_pl.system.state_dicts import read_state_dict
from glip_pl.training.task import GroundingTask
from glip_pl.weights.official.architecture import Architecture
from glip_pl.weights.official.conversion import Conversion, from_official
from glip_pl.weights.published import PUBLISHED, fetch
from glip_pl.weights.run_checkpoint import read_checkpoint

MODEL, DESCRIPTION, TEXT, RECEIPT = "model.safetensors", "model.yaml", "text", "receipt.json"


@dataclass(frozen=True)
class Weights:
    """A model's description and its parameters.

    Attributes:
        hyper_parameters: The arguments of `GroundingTask`, classes as ``class_path`` and
            ``init_args``.
        state: The state dict of `GLIP`.
    """

    hyper_parameters: dict[str, Any]
    state: dict[str, Tensor]

    def build(self) -> GroundingTask:
        """Build the task and give its model these weights."""
        fusion_plugins()  # Makes the plugins known by name.
        task: GroundingTask = instantiate_module(GroundingTask, self.hyper_parameters)
        self.give(task.model)
        return task

    def give(self, model: GLIP) -> None:
        """Load the parameters into a model.

        Raises:
            ValueError: The model is another one.
        """
        model.make_room(self.state)
        own = model.state_dict()
        unlike = [
            name
            for name in sorted(set(own) | set(self.state))
            if not name.startswith(("backbone.pixel_", "prompt."))
            and (
                name not in own
                or name not in self.state
                or own[name].shape != self.state[name].shape
            )
        ]
        if unlike:
            raise ValueError(
                f"the weights are of another model than the one asked for: {', '.join(unlike[:3])} "
                f"({len(unlike)} in all) are not the same in both; choose the MODEL that the "
                "weights belong to, for example glip_t"
            )
        model.load_state_dict(self.state, strict=False)


def read_run(path: str | Path) -> GroundingTask:
    """Build the task of a checkpoint that a training run wrote, with its weights.

    Raises:
        ValueError: There is no such file, or it is not a checkpoint of this project.
    """
    checkpoint = read_checkpoint(path)
    fusion_plugins()  # Makes the plugins known by name.
    described = checkpoint["hyper_parameters"]
    described = {key: value for key, value in described.items() if key != "_instantiator"}
    task: GroundingTask = instantiate_module(GroundingTask, described)
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"])
    return task


def read_weights(source: str) -> Weights:
    """Read weights of any kind.

    Args:
        source: A folder that `glip convert` wrote, a file of official GLIP, or the name of a
            published checkpoint.

    Raises:
        ValueError: There is nothing there, or it is none of these.
    """
    if Path(source).is_dir():
        return _read_folder(Path(source))
    architecture, conversion = convert_official(source)
    return Weights(architecture.hyper_parameters(), conversion.state)


def convert_official(source: str) -> tuple[Architecture, Conversion]:
    """Read an official file, by path or published name, and convert it.

    Raises:
        ValueError: There is no such file, or it is not of official GLIP.
    """
    path = str(fetch(source)) if source in PUBLISHED else source
    state = read_state_dict(
        path, advice=f"pass a file or folder, or one of the names {', '.join(PUBLISHED)}"
    )
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    try:
        architecture = Architecture.of(state)
    except KeyError as error:
        some = ", ".join(list(state)[:3])
        raise ValueError(
            f"{path!r} is not a checkpoint of official GLIP: it has no tensor {error.args[0]!r} "
            f"(it begins with {some}); a run of `glip fit` is given with --ckpt_path"
        ) from error
    with torch.device("meta"):  # Names and shapes are enough.
        model = instantiate_module(GroundingTask, architecture.hyper_parameters()).model
    return architecture, from_official(state, model, deep=architecture.deep)


def hashes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 of the bytes of each tensor."""
    return {
        name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        for name, value in state.items()
    }


def _read_folder(folder: Path) -> Weights:
    lacking = [n for n in (MODEL, DESCRIPTION, RECEIPT) if not (folder / n).is_file()]
    if lacking:
        raise ValueError(
            f"the folder {str(folder)!r} holds no weights: it lacks {', '.join(lacking)}; pass one "
            "that `glip convert` wrote"
        )
    try:
        state = load_file(folder / MODEL)
    except SafetensorError as error:
        raise ValueError(
            f"{str(folder / MODEL)!r} is damaged ({error}); convert the checkpoint again"
        ) from error
    recorded = {
        name: entry["sha256"]
        for name, entry in json.loads((folder / RECEIPT).read_text())["tensors"].items()
    }
    actual = hashes(state)
    changed = [
        name for name in sorted({*recorded, *actual}) if recorded.get(name) != actual.get(name)
    ]
    if changed:
        raise ValueError(
            f"{', '.join(changed[:3])} ({len(changed)} in all) of {str(folder / MODEL)!r} are not "
            f"what {RECEIPT} says; convert the checkpoint again"
        )
    described = yaml.safe_load((folder / DESCRIPTION).read_text())
    described["text"]["init_args"]["pretrained"] = str(folder / TEXT)
    return Weights(described, state)
