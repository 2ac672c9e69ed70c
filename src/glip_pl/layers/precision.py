"""Where half precision is not enough, and where it is."""

import torch
from torch import Tensor, nn


def at_least_fp32(x: Tensor) -> Tensor:
    """Widen half precision to fp32, of any shape, and leave fp32 and fp64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def narrow_weights(module: nn.Module) -> None:
    """Keep the weights of all matrix products and convolutions in bfloat16, for good.

    Autocast would convert them anew at every call; under it nothing else changes. Norms, biases and
    embeddings stay as they are.
    """
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim >= 2:
            if not isinstance(part, nn.Embedding):
                weight.data = weight.data.to(torch.bfloat16)
