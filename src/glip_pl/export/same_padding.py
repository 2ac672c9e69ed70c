"""TensorFlow's padding as a number: what it comes to where every stride divides its input.

"Same" padding is computed from the size of each map. Where that is a symbol, every strided layer
nests another rounding in the last one's, and the tracer does not end. The sides of images are
multiples of the coarsest stride here, so that each strided layer meets an even map, and its padding
is always kernel - stride, in all.
"""

import sys
from copy import deepcopy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def with_fixed_padding(model: M) -> M:
    """Return the model, or a copy whose convolutions with "same" padding pad by constants.

    The copy computes the same for maps of which every stride divides both sides.
    """
    if "timm" not in sys.modules:  # Its layers are the only ones that pad so.
        return model
    from timm.layers.conv2d_same import Conv2dSame

    if not any(isinstance(module, Conv2dSame) for module in model.modules()):
        return model
    copied = deepcopy(model)
    for name, module in list(copied.named_modules()):
        if isinstance(module, Conv2dSame):
            copied.set_submodule(name, _padded(module))
    return copied


def _padded(same: nn.Conv2d) -> nn.Module:
    """Return a convolution with constant padding in the place of one with "same" padding."""
    sides = zip(same.kernel_size, same.stride, same.dilation, strict=True)
    height, width = (max((kernel - 1) * apart + 1 - step, 0) for kernel, step, apart in sides)
    # The odd cell comes last, as in TensorFlow.
    pad = nn.ZeroPad2d((width // 2, width - width // 2, height // 2, height - height // 2))
    plain = nn.Conv2d(
        same.in_channels,
        same.out_channels,
        (same.kernel_size[0], same.kernel_size[1]),
        (same.stride[0], same.stride[1]),
        dilation=(same.dilation[0], same.dilation[1]),
        groups=same.groups,
        bias=same.bias is not None,
    )
    plain.load_state_dict(same.state_dict())
    return nn.Sequential(pad, plain).eval()
