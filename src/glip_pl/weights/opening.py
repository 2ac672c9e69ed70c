"""A network with its weights, from a run's checkpoint or from weights of any other kind."""

from pathlib import Path

from glip_pl.model import GLIP
from glip_pl.training.task import GroundingTask
from glip_pl.weights.reader import read_run, read_weights


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
