"""Memory for time: layers that are computed again in the backward pass, not kept for it.

Known as gradient checkpointing (https://arxiv.org/abs/1604.06174).
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def run_layer(layer: Callable[..., T], *inputs: object, recompute: bool) -> T:
    """Call a layer; where asked, keep its inputs alone for the backward pass.

    Outputs and gradients are the same either way: dropout draws the same numbers again, and
    autocast is as it was. Without gradients nothing is kept anyway, and the layer is just called.

    Args:
        layer: The layer, or any function of tensors.
        inputs: Its arguments.
        recompute: Whether to compute it again in the backward pass.

    Returns:
        What the layer returns.
    """
    if recompute and torch.is_grad_enabled():
        again: T = checkpoint(layer, *inputs, use_reentrant=False)
        return again
    return layer(*inputs)
