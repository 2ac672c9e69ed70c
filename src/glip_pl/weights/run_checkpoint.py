"""Reading files of weights: safely, and with a clear word when a file is not what it should be."""

import pickle
from pathlib import Path
from typing import Any

import torch

from glip_pl.system.state_dicts import refuse_non_finite
from glip_pl.weights.class_paths import with_current_paths


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint that a training run wrote, without executing anything in it.

    Returns:
        Lightning's dictionary: ``state_dict``, ``hyper_parameters``, ``class_names`` and more.

    Raises:
        ValueError: There is no such file, or it is not a checkpoint of this project.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"there is no checkpoint {str(path)!r}; pass the path of a .ckpt file, "
            "for example runs/*/version_*/checkpoints/best.ckpt"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{str(path)!r} cannot be read as a checkpoint ({reason}); the file is damaged or was "
            "written by another program; pass one that `glip fit` wrote"
        ) from error
    if not isinstance(checkpoint, dict) or not _is_ours(checkpoint):
        raise ValueError(
            f"{str(path)!r} is a checkpoint of another model: it does not describe a backbone, a "
            "text encoder and a fusion plugin; pass one that `glip fit` wrote"
        )
    refuse_non_finite(checkpoint["state_dict"], f"{str(path)!r} is not loaded")
    described = checkpoint["hyper_parameters"]
    return {**checkpoint, "hyper_parameters": with_current_paths(described)}


def _is_ours(checkpoint: dict[str, Any]) -> bool:
    described = checkpoint.get("hyper_parameters", {})
    return "state_dict" in checkpoint and {"backbone", "text", "fusion"} <= set(described)
