"""The Swin Transformer: attention inside windows that shift from block to block.

Names of parameters follow the published ImageNet files, so that these load as they are. Maps are
kept channels last, [B, H, W, C], until they are returned. See Swin Transformer, Sec. 3
(https://arxiv.org/abs/2103.14030).
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.backbones.backbone import Backbone, leading_parts, load_weights
from glip_pl.layers.linear import linear
from glip_pl.layers.recompute import run_layer
from glip_pl.layers.stochastic_depth import StochasticDepth
from glip_pl.layers.window_attention import WindowAttention
from glip_pl.layers.window_operator import UncutWindows
from glip_pl.layers.windows import Windows, cut_windows

# What an ImageNet file has for its classifier, and the buffers that we work out ourselves.
_NOT_OURS = r"^head\.|^norm\.|attn_mask$|relative_position_index$"


class SwinBackbone(Backbone):
    """A Swin Transformer that returns C3, C4 and C5, or C2 as well, each under its own layer norm.

    Swin-T is the default; Swin-L of GLIP-L is ``embed_dim=192, depths=(2, 2, 18, 2),
    num_heads=(6, 12, 24, 48), window=12, drop_path=0.4``. It sees BGR, as GLIP's weights expect,
    or RGB.

    Args:
        embed_dim: Channels of the first stage; each further stage doubles them.
        depths: Blocks per stage.
        num_heads: Attention heads per stage.
        window: Side of a window in cells.
        drop_path: Probability of skipping the last block in training; it grows from 0 linearly.
        weights: A local file with ImageNet weights (``.pth`` or ``.safetensors``), or None.
        num_maps: Maps to return: 3, or 4 with the first stage's, of 4 pixels per cell.
        channel_order: Order of the colours that the weights expect.
        freeze: Parts to freeze: 0 nothing, 1 the patch embedding, 2 also the first stage, ...
        checkpoint_blocks: Compute each block again in the backward pass, to save memory.

    Raises:
        ValueError: The weights do not exist or belong to another network, or there are not so many
            maps.
    """

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        *,
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.2,
        weights: str | None = None,
        num_maps: int = 3,
        channel_order: Literal["rgb", "bgr"] = "bgr",
        freeze: int = 0,
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__(channel_order=channel_order)
        if not 1 <= num_maps <= 4:
            raise ValueError(f"num_maps={num_maps} of the Swin Transformer; it has 1 to 4")
        widths = [embed_dim * 2**s for s in range(4)]
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path * block / last for block in range(sum(depths))])
        drops = [[next(rates) for _ in range(depth)] for depth in depths]
        self.channels = tuple(widths[4 - num_maps :])
        self.strides = (4, 8, 16, 32)[4 - num_maps :]
        self.patch_embed = PatchEmbed(embed_dim)
        self.layers = nn.ModuleList(
            SwinStage(
                *(widths[s], num_heads[s], window, drops[s]),
                merge=s < 3,
                checkpoint_blocks=checkpoint_blocks,
            )
            for s in range(4)
        )
        for stage, channels in enumerate(self.channels, start=4 - num_maps):
            self.add_module(f"norm{stage}", nn.LayerNorm(channels))
        self.apply(_init)
        if weights is not None:
            load_weights(self, weights, may_lack=r"^norm\d\.|^pixel_", may_add=_NOT_OURS)
        self._freeze(leading_parts([self.patch_embed, *self.layers], freeze))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W] as maps, finest first, each [B, C_l, H_l, W_l]."""
        x, maps = self.patch_embed(images), []
        for stage, layer in enumerate(self.layers):
            out, x = layer(x)
            if stage >= 4 - len(self.channels):
                maps.append(self.get_submodule(f"norm{stage}")(out).permute(0, 3, 1, 2))
        return tuple(maps)


class PatchEmbed(nn.Module):
    """Cut the image into patches of 4x4 pixels and embed each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, ceil(H / 4), ceil(W / 4), C]."""
        height, width = images.shape[-2:]
        x: Tensor = self.proj(F.pad(images, (0, -width % 4, 0, -height % 4)))
        x = self.norm(x.permute(0, 2, 3, 1))
        return x


class SwinStage(nn.Module):
    """Blocks at one resolution, every second one with shifted windows, then a 2x2 merge."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        window: int,
        drops: Sequence[float],
        *,
        merge: bool,
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        self.window = window
        self.checkpoint_blocks = checkpoint_blocks
        self.blocks = nn.ModuleList(
            SwinBlock(width, num_heads, window, drop_path=drop) for drop in drops
        )
        self.downsample = PatchMerging(width) if merge else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, W, C] to the same, refined, and to the input of the next stage."""
        height, width = x.shape[1:3]
        shifts = (0, self.window // 2)
        cuts: Sequence[Windows | UncutWindows]
        if torch.compiler.is_exporting():
            cuts = [UncutWindows(self.window, shift) for shift in shifts]
        else:
            cuts = [cut_windows(height, width, self.window, shift, x.device) for shift in shifts]
        for b, block in enumerate(self.blocks):
            x = run_layer(block, x, cuts[b % 2], recompute=self.checkpoint_blocks)
        return x, x if self.downsample is None else self.downsample(x)


class SwinBlock(nn.Module):
    """Attention inside windows, then a two-layer perceptron, both pre-norm and residual."""

    def __init__(self, width: int, num_heads: int, window: int, *, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, num_heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor, windows: Windows | UncutWindows) -> Tensor:
        """Refine [B, H, W, C] with attention inside these windows of H x W cells."""
        x = x + self.drop_path(self._attended(self.norm1(x), windows))
        refined: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return refined

    def _attended(self, x: Tensor, windows: Windows | UncutWindows) -> Tensor:
        if isinstance(windows, UncutWindows):
            attention = self.attn
            out: Tensor = attention.proj(windows.attend(x, attention.qkv, attention.bias()))
            return out
        return windows.join(self.attn(windows.cut(x.flatten(1, 2)), windows)).view_as(x)


class Mlp(nn.Module):
    """Two linear layers, four times as wide in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return linear(self.fc2, linear(self.fc1, x, activation="gelu"))


class PatchMerging(nn.Module):
    """Join 2x2 cells into one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), 2 C]."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        # Down the column first: the order of the published weights.
        batch, height, width, channels = x.shape
        corners = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        corners = corners.permute(0, 1, 3, 4, 2, 5)
        merged: Tensor = self.reduction(self.norm(corners.flatten(3)))
        return merged


def _init(module: nn.Module) -> None:
    """Draw the linear layers as the paper does."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
