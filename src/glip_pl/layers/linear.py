"""A linear layer with its bias and activation in one pass over memory, where oneDNN offers that."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.device import cpu_inference

Activation = Literal["none", "gelu", "relu"]
_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": F.gelu,
    "relu": F.relu,
}


def linear(layer: nn.Linear, x: Tensor, *, activation: Activation = "none") -> Tensor:
    """Apply a layer, and then the activation.

    For a gradient, for a compiler and on other devices they are the plain functions. On a CPU these
    would write the bias to memory first, add the product to it, and read it all again for the GELU:
    for the narrow layers of a Swin Transformer that is half of the time.

    Args:
        layer: Any linear layer with a bias.
        x: [..., in_features].
        activation: The exact GELU, a ReLU, or none.

    Returns:
        [..., out_features], under autocast in its dtype.
    """
    if _fuses(x):
        return _fused(x, layer.weight, layer.bias, activation)
    out: Tensor = layer(x)
    return _ACTIVATIONS[activation](out)


def project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Do what `linear` does with a weight [out_features, in_features] and its bias."""
    return _fused(x, weight, bias, "none") if _fuses(x) else F.linear(x, weight, bias)


def _fused(x: Tensor, weight: Tensor, bias: Tensor, activation: Activation) -> Tensor:
    dtype = _dtype(x)
    with torch.autocast("cpu", enabled=False):
        # The operator that torch.compile turns a linear layer into.
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(dtype), weight.to(dtype), bias.to(dtype), activation, [], "none"
        )
    return out


def _fuses(x: Tensor) -> bool:
    return cpu_inference(x) and _has_fused(_dtype(x))


def _dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _has_fused(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
