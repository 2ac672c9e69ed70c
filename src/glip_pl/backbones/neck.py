"""Necks: what turns backbone maps into a pyramid of one width."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch.nn as nn
from torch import Tensor


class Neck(nn.Module, ABC):
    """Base class of every neck.

    Args:
        extra_levels: Levels coarser than the backbone's last map, each half the size of the last.
    """

    def __init__(self, extra_levels: int) -> None:
        super().__init__()
        self.extra_levels = extra_levels

    def output_strides(self, input_strides: Sequence[int]) -> tuple[int, ...]:
        """Pixels per cell of every output, from those of the backbone's maps."""
        coarser = [input_strides[-1] * 2 ** (k + 1) for k in range(self.extra_levels)]
        return (*input_strides, *coarser)

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn backbone maps, each [B, C_l, H_l, W_l], into levels, each [B, d_model, H_l, W_l]."""


class ChannelMapper(Neck):
    """A convolution and a group norm per map, without any exchange between maps, as in DETR.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        d_model: Channels of every output, a multiple of `groups`.
        extra_levels: Coarser levels, each by a 3x3 convolution of stride 2: the first from the last
            map, the next from the level before.
        groups: Groups of the norms.

    Raises:
        ValueError: `groups` does not divide `d_model`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        d_model: int,
        *,
        extra_levels: int = 1,
        groups: int = 32,
    ) -> None:
        super().__init__(extra_levels)
        if d_model % groups:
            raise ValueError(
                f"d_model={d_model} cannot be split into groups={groups} equal groups; "
                f"choose a multiple of {groups}, or set model.neck.init_args.groups"
            )
        before = [*in_channels, in_channels[-1], *[d_model] * (extra_levels - 1)]
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, d_model, 1)
                if k < len(in_channels)
                else nn.Conv2d(channels, d_model, 3, stride=2, padding=1),
                nn.GroupNorm(groups, d_model),
            )
            for k, channels in enumerate(before[: len(in_channels) + extra_levels])
        )
        for level in self.levels:
            assert isinstance(level, nn.Sequential)
            nn.init.xavier_uniform_(level[0].weight)  # type: ignore[arg-type]
            nn.init.zeros_(level[0].bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See `Neck`."""
        levels = [level(x) for level, x in zip(self.levels, maps, strict=False)]
        x = maps[-1]
        for level in self.levels[len(maps) :]:
            x = level(x)
            levels.append(x)
        return tuple(levels)
