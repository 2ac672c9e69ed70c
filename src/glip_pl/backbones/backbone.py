"""Backbones: what an image encoder promises, how it normalises pixels and what it keeps frozen.

A backbone turns an image into maps of falling resolution; C3, C4 and C5 name the maps with 8, 16
and 32 pixels per cell. Every backbone is a *stem* followed by *stages*, and `freeze` counts those
parts in order: 0 freezes nothing, 1 the stem, 2 the stem and the first stage, and so on. A frozen
part gets no gradient and stays in evaluation mode, whatever `train` is told.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from glip_pl.system.state_dicts import read_state_dict

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Backbone(nn.Module, ABC):
    """Base class of every image encoder.

    Attributes:
        channels: Channels of each map returned, finest first.
        strides: Pixels per cell of each map returned.
        pixel_mean: RGB mean on the scale 0..255, [3, 1, 1]; a buffer, so that a checkpoint carries
            the normalisation it was trained with.
        pixel_std: Standard deviation, likewise.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        pixel_mean: Sequence[float] = IMAGENET_MEAN,
        pixel_std: Sequence[float] = IMAGENET_STD,
        *,
        channel_order: Literal["rgb", "bgr"] = "rgb",
    ) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1))
        self.channel_order = channel_order
        self._frozen: tuple[nn.Module, ...] = ()

    def normalise(self, images: Tensor, mask: Tensor) -> Tensor:
        """Scale pixels as the backbone was trained to see them, with padding as the mean colour.

        Args:
            images: uint8 [B, 3, H, W], RGB.
            mask: Boolean [B, H, W], True where a pixel is real.

        Returns:
            Float [B, 3, H, W] in the backbone's channel order, channels last in memory, exactly
            zero where padded.
        """
        scaled = (images - self.pixel_mean) / self.pixel_std
        if self.channel_order == "bgr":
            scaled = scaled.flip(1)
        # Padding is zeroed here, since a black pixel is far from zero once normalised.
        scaled = scaled.masked_fill(~mask[:, None], 0.0)
        return scaled.contiguous(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W] as maps, finest first, each [B, C_l, H_l, W_l]."""

    def _freeze(self, modules: Iterable[nn.Module]) -> None:
        """Freeze modules for good, in addition to those already frozen."""
        self._frozen += tuple(modules)
        for module in self._frozen:
            module.requires_grad_(False).eval()


class ConvBackbone(Backbone):
    """A convolutional network that returns the maps of its last stages.

    A subclass sets `stem`, `stages`, `channels` and `strides`.
    """

    stem: nn.Module
    stages: nn.ModuleList

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W] as maps, finest first, each [B, C_l, H_l, W_l]."""
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[-len(self.channels) :])

    def _freeze_start(self, freeze: int, *, frozen_norm: bool) -> None:
        """Freeze the first parts and, if asked, every batch norm: its statistics and its scale."""
        self._freeze(leading_parts([self.stem, *self.stages], freeze))
        if frozen_norm:
            # A detector's batch is too small to estimate the statistics of ImageNet again.
            self._freeze(m for m in self.modules() if isinstance(m, nn.BatchNorm2d))


def leading_parts(parts: Sequence[nn.Module], freeze: int) -> Sequence[nn.Module]:
    """Pick the parts that `freeze` counts: the stem first, then the stages.

    Raises:
        ValueError: There are fewer parts.
    """
    if not 0 <= freeze <= len(parts):
        raise ValueError(
            f"freeze={freeze} of the backbone is out of range; give 0 (nothing) to {len(parts)} "
            f"(the stem and {len(parts) - 1} stages)"
        )
    return parts[:freeze]


def load_weights(
    module: nn.Module,
    path: str,
    *,
    may_lack: str,
    may_add: str,
    rename: Callable[[str], str] = str,
) -> None:
    """Load a weights file and insist that it fits.

    Args:
        module: Where the weights go.
        path: A ``.safetensors`` file or one written by `torch.save`; a state dict, or a dict with
            one under "model" or "state_dict".
        may_lack: Pattern of the keys that the file need not have; they keep their values.
        may_add: Pattern of the keys of the file that are left aside.
        rename: Turns the file's other keys into those of the module.

    Raises:
        ValueError: The file is missing, is no state dict, or belongs to another network.
    """
    state = read_state_dict(
        path, advice="correct backbone.init_args.weights, or use null to start from random weights"
    )
    own = module.state_dict()
    state = {rename(key): value for key, value in state.items() if not re.search(may_add, key)}
    lacking = [key for key in own if key not in state and not re.search(may_lack, key)]
    foreign = [key for key in state if key not in own]
    misshapen = [
        f"{key} is {list(state[key].shape)}, not {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    wrong = {"lacks": lacking, "has foreign": foreign, "has other shapes:": misshapen}
    told = [f"{what} {', '.join(k[:3])} ({len(k)} in all)" for what, k in wrong.items() if k]
    if told:
        raise ValueError(
            f"the weights file {path!r} does not fit the backbone: it {'; it '.join(told)}; "
            "give the weights of exactly this network, or weights=null to start from random ones"
        )
    module.load_state_dict(state, strict=False)
