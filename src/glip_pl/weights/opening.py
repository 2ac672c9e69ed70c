"""A network with its weights, from a run's checkpoint or from weights of any other kind."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from glip_pl.model import GLIP
from glip_pl.training.task import GroundingTask
from glip_pl.weights.reader import read_run, read_weights
from glip_pl.weights.run_checkpoint import read_checkpoint


def open_task(source: str) -> GroundingTask:
    """Build the task that weights describe, in evaluation mode.

    Args:
        source: A .ckpt of a run, a folder of weights, an official file, or a published name.
    """
    is_run = source.endswith(".ckpt") and Path(source).is_file()
    return (read_run(source) if is_run else read_weights(source).build()).eval()


def open_model(source: str) -> GLIP:
    """Build the network alone; see `open_task`."""
    return open_task(source).model


def write_checkpoint(
    task: GroundingTask, state: Mapping[str, Tensor], path: Path, *, like: str
) -> None:
    """Write other weights for the network of a task, as a checkpoint that is read like a run's.

    Args:
        task: Described by configuration, as `open_task` builds it.
        state: The state dict of the network.
        path: The file.
        like: Where the task came from; image sizes of a run's checkpoint go along.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {key: v for key, v in task.hparams.items() if key not in ("tune", "freeze", "lora")}
    checkpoint = {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "hyper_parameters": described,
        "class_names": task.class_names,
        "pytorch-lightning_version": version("pytorch-lightning"),
    }
    if like.endswith(".ckpt"):
        checkpoint["evaluation"] = read_checkpoint(like).get("evaluation", {})
    torch.save(checkpoint, path)
