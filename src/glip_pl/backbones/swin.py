"""The Swin Transformer: attention inside windows that shift from block to block.

Names of parameters follow the published ImageNet files, so that these load as they are. Maps are
kept channels last, [B, H, W, C], until they are returned. See Swin Transformer, Sec. 3
(https://arxiv.org/abs/2103.14030).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from glip_pl.backbones.backbone import Backbone, leading_parts, load_weights

# What an ImageNet file has for its classifier, and the buffers that we work out ourselves.
_NOT_OURS = r"^head\.|^norm\.|attn_mask$|relative_position_index$"


class SwinBackbone(Backbone):
    """A Swin Transformer that returns C3, C4 and C5, each under its own layer norm.

    Swin-T is the default; Swin-L of GLIP-L is ``embed_dim=192, depths=(2, 2, 18, 2),
    num_heads=(6, 12, 24, 48), window=12, drop_path=0.4``. It sees BGR, as GLIP's weights expect.

    Args:
        embed_dim: Channels of the first stage; each further stage doubles them.
        depths: Blocks per stage.
        num_heads: Attention heads per stage.
        window: Side of a window in cells.
        drop_path: Probability of skipping the last block in training; it grows from 0 linearly.
        weights: A local file with ImageNet weights (``.pth`` or ``.safetensors``), or None.
        freeze: Parts to freeze: 0 nothing, 1 the patch embedding, 2 also the first stage, ...

    Raises:
        ValueError: The weights do not exist or belong to another network.
    """

    strides = (8, 16, 32)

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        *,
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.2,
        weights: str | None = None,
        freeze: int = 0,
    ) -> None:
        super().__init__(channel_order="bgr")
        widths = [embed_dim * 2**s for s in range(4)]
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path * block / last for block in range(sum(depths))])
        drops = [[next(rates) for _ in range(depth)] for depth in depths]
        self.channels = (widths[1], widths[2], widths[3])
        self.patch_embed = PatchEmbed(embed_dim)
        self.layers = nn.ModuleList(
            SwinStage(widths[s], num_heads[s], window, drops[s], merge=s < 3) for s in range(4)
        )
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(c) for c in self.channels)
        self.apply(_init)
        if weights is not None:
            load_weights(self, weights, may_lack=r"^norm\d\.|^pixel_", may_add=_NOT_OURS)
        self._freeze(leading_parts([self.patch_embed, *self.layers], freeze))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W] as C3, C4, C5, each [B, C_l, H_l, W_l]."""
        x, maps = self.patch_embed(images), []
        norms = (nn.Identity(), self.norm1, self.norm2, self.norm3)
        for layer, norm in zip(self.layers, norms, strict=True):
            out, x = layer(x)
            maps.append(norm(out).permute(0, 3, 1, 2))
        return tuple(maps[1:])


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
        self, width: int, num_heads: int, window: int, drops: Sequence[float], *, merge: bool
    ) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(width, num_heads, window, shift=window // 2 if b % 2 else 0, drop_path=drop)
            for b, drop in enumerate(drops)
        )
        self.downsample = PatchMerging(width) if merge else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, W, C] to the same, refined, and to the input of the next stage."""
        shape = [side + -side % self.window for side in x.shape[1:3]]
        mask = shift_mask(shape[0], shape[1], self.window, self.window // 2, x.device)
        for block in self.blocks:
            x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class SwinBlock(nn.Module):
    """Attention inside windows, then a two-layer perceptron, both pre-norm and residual."""

    def __init__(
        self, width: int, num_heads: int, window: int, *, shift: int, drop_path: float
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, num_heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Refine [B, H, W, C]; `mask` [windows, T, T] is added when the windows are shifted."""
        height, width = x.shape[1:3]
        w, s = self.window, self.shift
        # Zeros are padded after the norm, and they do take part in the attention.
        y = F.pad(self.norm1(x), (0, 0, 0, -width % w, 0, -height % w))
        y = y.roll((-s, -s), dims=(1, 2)) if s else y
        windows = self.attn(split_windows(y, w), mask if s else None)
        y = join_windows(windows, w, y.shape[1], y.shape[2])
        y = y.roll((s, s), dims=(1, 2)) if s else y
        x = x + self.drop_path(y[:, :height, :width])
        refined: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return refined


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, with a learned bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, width: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(
            torch.randn((2 * window - 1) ** 2, num_heads) * 0.02
        )
        cell = torch.arange(window)
        y, x = (c.flatten() for c in torch.meshgrid(cell, cell, indexing="ij"))
        dy, dx = y[:, None] - y, x[:, None] - x
        index = (dy + window - 1) * (2 * window - 1) + dx + window - 1
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend inside windows [B, windows, T, C]; `mask` [windows, T, T] adds to the scores."""
        batch, windows, cells, width = x.shape
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).expand(batch, -1, -1, -1, -1).flatten(0, 1)
        qkv = self.qkv(x).view(batch * windows, cells, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(batch, windows, cells, width))
        return mixed


class Mlp(nn.Module):
    """Two linear layers, four times as wide in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


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
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(corners, dim=-1)))
        return merged


def split_windows(x: Tensor, window: int) -> Tensor:
    """Cut [B, H, W, C] into windows [B, windows, T, C] with T = window²; the sides must divide."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(batch, -1, window**2, channels)


def join_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo `split_windows`: [B, windows, T, C] to [B, H, W, C]."""
    batch, _, _, channels = windows.shape
    x = windows.view(batch, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(batch, height, width, channels)


def shift_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Forbid attention between cells that only the cyclic shift made neighbours.

    Returns:
        [windows, T, T], 0 where both cells belong together and -100 elsewhere.
    """
    # Rolled cells keep their order up to the last window, which holds a region of each side.
    rows, columns = (
        (torch.arange(side, device=device) >= side - window).int()
        + (torch.arange(side, device=device) >= side - shift).int()
        for side in (height, width)
    )
    regions = split_windows((3 * rows[:, None] + columns)[None, :, :, None], window)[0, ..., 0]
    return (regions[:, :, None] != regions[:, None, :]) * -100.0


def _init(module: nn.Module) -> None:
    """Draw the linear layers as the paper does."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
