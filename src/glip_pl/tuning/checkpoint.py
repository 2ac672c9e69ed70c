"""Checkpoints of tuned models: whole weights under their old names, and beside them what resumes.

With LoRA the state dict of a checkpoint has the additions merged, so that everything that reads a
checkpoint reads this one. What a resumed run needs stands under `UNMERGED`.
"""

from typing import Any

from torch import nn

from glip_pl.tuning.lora import adapters, base_state, is_adapted, merged_state

UNMERGED = "unmerged_weights"


def fold(checkpoint: dict[str, Any]) -> None:
    """Merge the adapters of a checkpoint that is about to be saved; others stay as they are."""
    state = checkpoint["state_dict"]
    if not is_adapted(state):
        return
    checkpoint[UNMERGED] = {n: value for n, value in state.items() if is_adapted({n: value})}
    checkpoint["state_dict"] = merged_state(state)


def unfold(checkpoint: dict[str, Any], module: nn.Module) -> None:
    """Take a loaded checkpoint apart again where the model has adapters that resume with it.

    Raises:
        ValueError: One of the two has adapters, and they are not the other's.
    """
    expected = set(module.state_dict()) if any(adapters(module)) else set()
    if not expected:
        return
    unmerged = checkpoint.get(UNMERGED, {})
    merged = base_state(unmerged)
    state = {name: v for name, v in checkpoint["state_dict"].items() if name not in merged}
    state |= unmerged
    if not unmerged or set(state) != expected:
        raise ValueError(
            "the checkpoint was not tuned with the adapters that this run has; resume with the "
            "model.tuning of its run, or begin anew with --weights"
        )
    checkpoint["state_dict"] = state
