"""Any convolutional network of timm as a backbone, by name, its weights from a local file."""

import re
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from glip_pl.backbones.backbone import Backbone, load_weights

_STRIDES = (8, 16, 32)


class TimmBackbone(Backbone):
    """A network of timm that returns C3, C4 and C5.

    Pixels are normalised as timm's own weights expect it. Nothing is downloaded.

    Args:
        name: What timm calls it, such as "convnext_tiny" or "regnety_016".
        weights: A local file with weights of the whole network (``.pth`` or ``.safetensors``), or
            None for random ones.
        frozen_norm: Keep the statistics and the scale of every batch norm as loaded.

    Raises:
        ValueError: timm is not installed or knows no such network, the network has no such maps or
            reads images of one size only, or the weights belong to another one.
    """

    strides = _STRIDES

    def __init__(self, name: str, weights: str | None = None, *, frozen_norm: bool = True) -> None:
        body, whole = _build(name)
        settings = whole.pretrained_cfg
        super().__init__(
            [255 * value for value in settings["mean"]], [255 * value for value in settings["std"]]
        )
        strides = body.feature_info.reduction()
        if settings.get("fixed_input_size") or not set(_STRIDES) <= set(strides):
            raise ValueError(
                f"TimmBackbone cannot use {name!r}: a detector needs maps of 8, 16 and 32 pixels "
                f"per cell from images of any size, and it has maps of {strides}"
                + (
                    f", for {settings['input_size'][1:]} pixels only"
                    if "input_size" in settings
                    else ""
                )
                + '; take a convolutional network such as "convnext_tiny"'
            )
        # Of several maps with one stride the last has seen most.
        self._chosen = tuple(len(strides) - 1 - strides[::-1].index(s) for s in _STRIDES)
        self.channels = tuple(body.feature_info.channels()[k] for k in self._chosen)
        if weights is not None:
            own = {_plain(key): key for key in body.state_dict()}
            classifier = [k for k in whole.state_dict() if _plain(k) not in own]
            load_weights(
                body,
                weights,
                may_lack=r"num_batches_tracked$",
                may_add="|".join(f"^{re.escape(key)}$" for key in classifier) or r"^$",
                rename=lambda key: own.get(_plain(key), key),
            )
        self.body: nn.Module = body
        if frozen_norm:
            # A detector's batch is too small to estimate the statistics of ImageNet again.
            self._freeze(m for m in self.modules() if isinstance(m, nn.BatchNorm2d))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W] as C3, C4 and C5."""
        maps = self.body(images)
        return tuple(maps[k] for k in self._chosen)


def _build(name: str) -> tuple[Any, Any]:
    """Make the network that returns maps, and the whole one, which weights files are of."""
    if find_spec("timm") is None:
        raise ValueError('TimmBackbone needs the package timm; run: pip install "glip-pl[small]"')
    import timm  # Optional: only a few backbones need it.

    if name not in timm.list_models(name):
        near = ", ".join(timm.list_models(f"*{name[:4]}*")[:5]) or "none that begins like it"
        raise ValueError(f"timm has no network {name!r}; near it are {near}")
    try:
        body = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"timm offers no maps of {name!r} ({error}); take a convolutional network such as "
            '"convnext_tiny"'
        ) from error
    return body, timm.create_model(name, pretrained=False)


def _plain(key: str) -> str:
    """Reduce a key to what both forms share: timm writes "stages_0" where maps are returned."""
    return key.removeprefix("model.").replace("_", ".")
