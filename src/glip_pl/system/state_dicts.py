"""Files of named tensors: read without running any code that they may hold."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


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


def refuse_non_finite(state: Mapping[str, Any], consequence: str) -> None:
    """Raise where a weight is infinite or not a number.

    Args:
        state: Tensors by name.
        consequence: What is not done, for the message.

    Raises:
        ValueError: Some are not finite.
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    wrong = [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(tensors)} weights are not finite, for example {wrong[0]}: "
            f"{consequence}; go on from an earlier checkpoint, with a lower learning rate"
        )
