"""Which form a layer computes in: in blocks for the cache of a CPU, or by few kernels of a GPU.

Both compute the same. Layers ask here, and nowhere else, which of them a device gets.
"""

import torch
from torch import Tensor


def on_cpu(x: Tensor) -> bool:
    """Return whether a CPU computes with x, of any shape."""
    return x.device.type == "cpu"


def cpu_inference(x: Tensor) -> bool:
    """Return whether a CPU computes with x, of any shape, and nobody looks on.

    Then work goes block by block, so that what lies between stays in the cache. Not on a GPU, which
    would wait for each block; not for a gradient, which needs what blocks throw away; and not for a
    compiler, which cuts blocks of its own.
    """
    return on_cpu(x) and not (torch.is_grad_enabled() or torch.compiler.is_compiling())


def all_real(mask: Tensor) -> bool:
    """Return whether a mask, of any shape, is known to be True everywhere.

    Looking is cheap on a CPU alone: a GPU would finish all its work first, and a graph must serve
    other masks, too. There the answer is no, which is right for every mask, and costs a mask.
    """
    return on_cpu(mask) and not torch.compiler.is_compiling() and bool(mask.all())
