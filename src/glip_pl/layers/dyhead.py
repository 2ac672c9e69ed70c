"""The DyHead block: every pyramid level looks at itself and its neighbours, where it needs to.

Three kinds of attention in a row: over space (deformable convolutions), over levels (one number a
map) and over channels (a dynamic ReLU). See Dynamic Head (https://arxiv.org/abs/2106.08322); the
form here is the one of official GLIP.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.deformable import SampledMaps, deformable_conv2d_maps
from glip_pl.layers.table_convolution import TAPS


class DyHeadBlock(nn.Module):
    """One round of exchange between neighbouring levels; all levels share its weights.

    The offsets of a level also steer the convolutions of its neighbours. For the coarser neighbour
    their memory is read as if it had the coarser size: an oversight of the original that all
    official weights were trained with.
    """

    def __init__(self, d_model: int, *, groups: int = 16, still_start: bool = False) -> None:
        """Build the block.

        Args:
            d_model: Channels of every level.
            groups: Groups of the group normalisation.
            still_start: Let all offsets start at zero and not, as in GLIP, at random: the
                convolutions then begin as plain ones, which detection after a pretrained backbone
                learns from faster (arXiv 1811.11168 starts so).

        Raises:
            ValueError: `groups` does not divide `d_model`.
        """
        super().__init__()
        if d_model % groups:
            raise ValueError(
                f"d_model={d_model} cannot be split into groups={groups} equal groups; "
                f"choose a multiple of {groups}"
            )
        self.offset = nn.Conv2d(d_model, 3 * TAPS, 3, padding=1)
        self.coarser = DeformableConv(d_model, groups)
        self.same = DeformableConv(d_model, groups)
        self.finer = DeformableConv(d_model, groups, stride=2)
        self.level_attention = nn.Conv2d(d_model, 1, 1)
        self.activation = DynamicReLU(d_model)
        nn.init.normal_(self.level_attention.weight, std=0.01)
        self.level_attention.bias = nn.Parameter(torch.zeros(1))
        if still_start:
            for parameter in self.offset.parameters():
                nn.init.zeros_(parameter)

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Update every level.

        Args:
            levels: Maps, finest first, each [B, d_model, H_l, W_l]; a level has half the cells of
                the one before along each side, rounded up.

        Returns:
            Maps of the same shapes.
        """
        moves = [self.offset(x) for x in levels]
        offsets = [m[:, : 2 * TAPS] for m in moves]
        masks = [m[:, 2 * TAPS :].sigmoid() for m in moves]
        maps, above, last = SampledMaps.of(levels), range(1, len(levels)), len(levels) - 1
        candidates = [[same] for same in self.same(maps, range(len(levels)), offsets, masks)]
        if last:
            finer = self.finer(maps, range(last), offsets[1:], masks[1:])
            for index, candidate in zip(above, finer, strict=True):
                candidates[index].append(candidate)
            sizes = [(levels[index].shape[-2], levels[index].shape[-1]) for index in above]
            coarser = self.coarser(
                maps,
                above,
                [_reread(o, size) for o, size in zip(offsets[:-1], sizes, strict=True)],
                [_reread(m, size) for m, size in zip(masks[:-1], sizes, strict=True)],
            )
            for index, candidate in enumerate(coarser):
                size = levels[index].shape[-2:]
                candidates[index].append(
                    F.interpolate(candidate, size, mode="bilinear", align_corners=True)
                )
        return tuple(self._merge(of_level) for of_level in candidates)

    def _merge(self, candidates: list[Tensor]) -> Tensor:
        """Weigh the candidates of a level, [B, d_model, H, W] each, and activate their mean."""
        mean = candidates[0] * (self._attention(candidates[0]) / len(candidates))
        for candidate in candidates[1:]:
            mean = mean.addcmul(candidate, self._attention(candidate) / len(candidates))
        updated: Tensor = self.activation(mean)
        return updated

    def _attention(self, candidate: Tensor) -> Tensor:
        """How much a candidate counts, in [0.5, 1], one number per image."""
        score = self.level_attention(_mean(candidate)[..., None, None])
        return F.hardsigmoid(F.relu(score))


class DeformableConv(nn.Module):
    """A deformable convolution followed by group normalisation."""

    def __init__(self, d_model: int, groups: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(d_model, d_model, 3, 3))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.norm = nn.GroupNorm(groups, d_model)
        bound = 1 / math.sqrt(d_model * TAPS)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(
        self,
        maps: SampledMaps,
        chosen: Sequence[int],
        offsets: Sequence[Tensor],
        masks: Sequence[Tensor],
    ) -> list[Tensor]:
        """Convolve and normalise the chosen maps, each with its offset and modulation.

        Args:
            maps: All maps.
            chosen: Which of them.
            offsets: How far each tap moves, (y, x) in cells, [B, 18, H_o, W_o] for each of these.
            masks: How much each tap counts, [B, 9, H_o, W_o] likewise.

        Returns:
            Maps [B, d, H_o, W_o].
        """
        moved = deformable_conv2d_maps(
            maps, chosen, offsets, masks, self.weight, self.bias, stride=self.stride
        )
        return [self.norm(x) for x in moved]


class DynamicReLU(nn.Module):
    """max(α₁x + β₁, α₂x + β₂) with slopes and shifts that depend on the image, per channel.

    See Dynamic ReLU (https://arxiv.org/abs/2003.10027).
    """

    def __init__(self, d_model: int, *, reduction: int = 4) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(d_model, d_model // reduction),
            nn.ReLU(),
            nn.Linear(d_model // reduction, 4 * d_model),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Activate a map [B, d_model, H, W]."""
        theta = F.hardsigmoid(self.fc(_mean(x))) - 0.5
        slope, shift, base_slope, base_shift = theta[..., None, None].chunk(4, 1)
        # max(a, b) = b + relu(a - b), whose gradient takes a third of the time on a CPU.
        rise = F.relu(torch.addcmul(shift - base_shift, x, 2 * (slope - base_slope) + 1))
        return torch.addcmul(base_shift, x, 2 * base_slope) + rise


def _mean(x: Tensor) -> Tensor:
    """Average a map [B, C, H, W] to [B, C].

    Of a bfloat16 map it is a matrix product, since a CPU's sum would first copy all of the map.
    """
    if x.dtype.itemsize >= 4:
        return x.mean((2, 3))
    cells = x.flatten(2)
    return cells @ cells.new_ones(cells.shape[2]) / cells.shape[2]


def _reread(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Read the memory of each [C, H, W] as [C, *size], as the official kernel does."""
    batch, channels = maps.shape[:2]
    length = channels * size[0] * size[1]
    return maps.flatten(1)[:, :length].view(batch, channels, *size)
