"""A task around weights of any kind: what training, testing and timing need of them."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.cli import instantiate_module
from torch import Tensor

from glip_pl.plugins import fusion_plugins
from glip_pl.training.task import GroundingTask
from glip_pl.weights import Weights, read_weights
from glip_pl.weights.network import PARTS, without_start


def task_of(weights: Weights) -> GroundingTask:
    """Build the task that the weights describe, and give its model these weights.

    Raises:
        ValueError: The weights do not fit their description.
    """
    fusion_plugins()  # Makes the plugins known by name.
    described = {
        key: without_start(value) if key in PARTS else value
        for key, value in weights.hyper_parameters.items()
    }
    task = build_task(described)
    weights.give(task.model)
    task.class_names = list(weights.about.class_names)
    return task


def build_task(described: Mapping[str, Any]) -> GroundingTask:
    """Build a task of a description, which its checkpoints will carry, as those of a run do."""
    task: GroundingTask = instantiate_module(GroundingTask, dict(described))
    task.describe(described)  # Lightning knows it in a run alone.
    return task


def open_task(source: str) -> GroundingTask:
    """Build the task of weights of any kind, in evaluation mode; see `read_weights`."""
    return task_of(read_weights(source)).eval()


def write_checkpoint(
    task: GroundingTask, state: Mapping[str, Tensor], path: Path, *, like: str
) -> None:
    """Write other weights for the network of a task, as a checkpoint that is read like a run's.

    Args:
        task: Described by configuration, as `open_task` builds it.
        state: The state dict of the network.
        path: The file.
        like: Where the task came from; what is known of these weights goes along.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    about = read_weights(like).about
    described = {key: v for key, v in task.hparams.items() if key != "tuning"}
    checkpoint = {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "hyper_parameters": described,
        "class_names": task.class_names,
        "trained_on": list(about.trained_on),
        "evaluation": {"short_side": about.short_side, "max_side": about.max_side},
        "pytorch-lightning_version": version("pytorch-lightning"),
    }
    torch.save(checkpoint, path)
