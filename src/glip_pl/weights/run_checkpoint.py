"""Checkpoints that a training run wrote: read safely, and with a clear word when they are not."""

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from glip_pl.configs.class_paths import with_current_paths
from glip_pl.system.state_dicts import refuse_non_finite
from glip_pl.weights.allowed_classes import check_class_paths


def read_checkpoint(path: str | Path, *, trust: Sequence[str] = ()) -> dict[str, Any]:
    """Load a checkpoint that a training run wrote, without executing anything in it.

    Args:
        path: The file.
        trust: Modules whose classes it may name, beside those of plugins.

    Returns:
        Lightning's dictionary: ``state_dict``, ``hyper_parameters``, ``class_names`` and more.

    Raises:
        ValueError: There is no such file, it is not a checkpoint of this project, or it names a
            class that is not allowed.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"there is no checkpoint {str(path)!r}; pass the path of a .ckpt file, "
            "for example runs/*/version_*/checkpoints/best.ckpt"
        )
    return checked(load_safely(path), path, trust=trust)


def checked(checkpoint: Any, path: str | Path, *, trust: Sequence[str] = ()) -> dict[str, Any]:
    """Check what was loaded from a file as `read_checkpoint` does.

    Raises:
        ValueError: It is not a checkpoint of this project, or it names a class that is not allowed.
    """
    if not is_run_checkpoint(checkpoint):
        raise ValueError(
            f"{str(path)!r} is a checkpoint of another model: it does not describe a backbone, a "
            "text encoder and a fusion plugin; pass one that `glip fit` wrote"
        )
    refuse_non_finite(checkpoint["state_dict"], f"{str(path)!r} is not loaded")
    described = with_current_paths(checkpoint["hyper_parameters"])
    check_class_paths(described, str(path), trust)
    return {**checkpoint, "hyper_parameters": described}


def load_safely(path: str | Path) -> Any:
    """Load what `torch.save` wrote, and run no code that it may hold.

    Raises:
        ValueError: It is damaged, of another program, or holds code.
    """
    try:
        # Mapped, an optimizer's state beside the weights costs no memory.
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # Unpickling fails in many ways; all mean the same to the user.
        raise ValueError(
            f"{str(path)!r} cannot be read as weights ({_reason(error)}); give a checkpoint that "
            "`glip fit` wrote, a .safetensors file or a state dict written by torch.save"
        ) from error


def is_run_checkpoint(loaded: Any) -> bool:
    """Whether something loaded is a checkpoint of a training run of this project."""
    if not isinstance(loaded, dict) or not isinstance(loaded.get("state_dict"), dict):
        return False
    described = loaded.get("hyper_parameters")
    return isinstance(described, dict) and {"backbone", "text", "fusion"} <= set(described)


def _reason(error: Exception) -> str:
    """Return why; torch's own words would advise to run the code that the file holds."""
    text = str(error).lower()
    if isinstance(error, pickle.UnpicklingError) and ("weights" in text or "unsupported" in text):
        return "it holds more than numbers, and code in it is never run"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is damaged, or no such file"
