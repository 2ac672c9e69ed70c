"""Where half precision is not enough."""

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """Widen half precision to fp32, and leave fp32 and fp64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
