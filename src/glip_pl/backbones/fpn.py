"""The feature pyramid: backbone maps to maps of one width, passed from coarse to fine.

See Feature Pyramid Networks, Sec. 3 (https://arxiv.org/abs/1612.03144); the two coarser levels are
those of FCOS (https://arxiv.org/abs/1904.01355) and the dropped blocks are DropBlock's
(https://arxiv.org/abs/1810.12890), as GLIP trains them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.backbones.neck import Neck


class FPN(Neck):
    """Laterals, a top-down path, one 3x3 convolution per level, and extra coarse levels.

    Args:
        in_channels: Channels of the backbone's maps, finest first.
        d_model: Channels of every output.
        extra_levels: Levels coarser than the backbone's last map, each half the size of the last.
        drop_block: In training, the share of cells to drop from each merged map but the coarsest.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        d_model: int,
        *,
        extra_levels: int = 2,
        drop_block: float = 0.0,
    ) -> None:
        super().__init__(extra_levels)
        self.laterals = nn.ModuleList(nn.Conv2d(c, d_model, 1) for c in in_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(d_model, d_model, 3, padding=1) for _ in in_channels)
        self.extra = nn.ModuleList(
            nn.Conv2d(d_model, d_model, 3, stride=2, padding=1) for _ in range(extra_levels)
        )
        self.drop_block = DropBlock(drop_block)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn backbone maps, each [B, C_l, H_l, W_l], into levels, each [B, d_model, H_l, W_l]."""
        merged = self.laterals[-1](maps[-1])
        levels = [self.outputs[-1](merged)]
        for k in reversed(range(len(maps) - 1)):
            lateral = self.laterals[k](maps[k])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="nearest")
            levels.insert(0, self.outputs[k](self.drop_block(merged)))
        for k, conv in enumerate(self.extra):
            # P6 starts from P5 as it is; only between extra levels stands a ReLU.
            levels.append(conv(levels[-1].relu() if k else levels[-1]))
        return tuple(levels)


class DropBlock(nn.Module):
    """Drop square blocks of cells from a map in training, the same ones in every channel.

    Args:
        share: About how many of the cells are dropped, in [0, 1).
        size: Side of a block in cells, odd.
    """

    def __init__(self, share: float, size: int = 3) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(
                f"drop_block={share} must lie in [0, 1); 0 turns it off, GLIP uses 0.3"
            )
        self.share = share
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Drop blocks from [B, C, H, W] and scale the rest up to keep the sum."""
        if not self.training or self.share == 0:
            return x
        seeds = torch.rand(len(x), 1, *x.shape[-2:], device=x.device) < self.share / self.size**2
        dropped = F.max_pool2d(seeds.to(x.dtype), self.size, stride=1, padding=self.size // 2)
        kept = 1 - dropped
        # The scale is counted in fp32: bf16 cannot count past 256.
        return x * kept * (kept.numel() / kept.float().sum().clamp(min=1)).to(x.dtype)
