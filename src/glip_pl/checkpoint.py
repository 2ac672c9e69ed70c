"""Reading files of weights: safely, and with a clear word when a file is not what it should be."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


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
    return checkpoint


def read_state_dict(path: str, *, advice: str) -> dict[str, Tensor]:
    """Read named tensors without running any code that the file may hold.

    Args:
        path: A ``.safetensors`` file or one written by `torch.save`; a state dict, or a dict with
            one under "model" or "state_dict".
        advice: What the user can do when there is no such file.

    Raises:
        ValueError: The file is missing, cannot be read, or holds something else.
    """
    if not Path(path).is_file():
        raise ValueError(f"the weights file {path!r} does not exist; {advice}")
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        # Mapped, the optimizer's state beside the weights costs no memory.
        mapped = zipfile.is_zipfile(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # Unpickling fails in many ways; all mean the same to the user.
        harmful = "weights_only" in str(error).lower() or "Unsupported" in str(error)
        reason = (
            "it holds more than numbers, and code in it is never run"
            if harmful
            else "it is damaged, or no such file"
        )
        raise ValueError(
            f"{path!r} cannot be read as weights ({reason}); give a .safetensors file or a state "
            "dict written by torch.save"
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path!r} holds no state dict; give a file that maps names to tensors")
    return state


def _is_ours(checkpoint: dict[str, Any]) -> bool:
    described = checkpoint.get("hyper_parameters", {})
    return "state_dict" in checkpoint and {"backbone", "text", "fusion"} <= set(described)
