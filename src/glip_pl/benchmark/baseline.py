"""The arrangement of official GLIP, written out: the same function, for comparison only.

It pads captions to 256 tokens, projects every image position to the width of the attention, keeps
scores of all pairs several times over, samples with torchvision's operator, writes window attention
as two products and a softmax, and runs the whole model once for every 40 names. See GLIP's code as
described in docs/performance.md; parameters are shared with the model that it is compared with.
"""

import copy
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.fusion import TextFeatures
from glip_pl.layers.attention import BiAttention
from glip_pl.layers.deformable import SampledMaps, torchvision_conv2d
from glip_pl.layers.dyhead import DeformableConv
from glip_pl.layers.recompute import run_layer
from glip_pl.layers.window_attention import WindowAttention
from glip_pl.layers.windows import Windows
from glip_pl.model import GLIP
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.text import TextEncoder

PADDED_TOKENS = 256
NAMES_PER_PROMPT = 40
_LIMIT = 50_000.0


def written_out(model: GLIP) -> GLIP:
    """Arrange a model as official GLIP is; both share all parameters."""
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    baseline = copy.deepcopy(model, shared)
    baseline.text = _PaddedText(baseline.text)
    _replace(baseline, BiAttention, _WrittenOutExchange)
    _replace(baseline, DeformableConv, _TorchvisionConv)
    _replace(baseline, WindowAttention, _WrittenOutWindows)
    return baseline


def _replace(module: nn.Module, kind: type[nn.Module], wrapper: type[nn.Module]) -> None:
    """Wrap every submodule of a kind."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, wrapper(child))
        else:
            _replace(child, kind, wrapper)


class _PaddedText(TextEncoder):
    """A text encoder that reads, and hands on, 256 tokens whatever the caption."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.d_text, self.tokenizer = encoder.d_text, encoder.tokenizer

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        more = PADDED_TOKENS - tokens.ids.shape[1]
        features: TextFeatures = self.encoder(
            TokenBatch(
                F.pad(tokens.ids, (0, more)),
                F.pad(tokens.mask, (0, more)),
                F.pad(tokens.offsets, (0, 0, 0, more)),
            )
        )
        return features


class _WrittenOutExchange(nn.Module):
    """X-MHA with all projections on both sides: GLIP, Sec. 3.2, Eq. 3 to 5."""

    def __init__(self, block: BiAttention) -> None:
        super().__init__()
        self.block = block

    def forward(self, image: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Update both sides; in training official GLIP computes the block again backwards."""
        return run_layer(self._exchange, image, text, text_mask, recompute=self.training)

    def _exchange(self, image: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        block = self.block
        image, text = block.image_norm(image), block.text_norm(text)
        query = self._heads(block.query(image) * block.scale)
        key = self._heads(block.key(text))
        image_value = self._heads(block.image_value(image))
        text_value = self._heads(block.text_value(text))
        scores = (query @ key.transpose(1, 2)).clamp(-_LIMIT, _LIMIT)  # [B * H, N, M]
        to_text = scores.transpose(1, 2)
        to_text = to_text - to_text.amax(-1, keepdim=True)
        to_text = to_text.clamp(-_LIMIT, _LIMIT).softmax(-1)
        ignored = text_mask.new_zeros(text_mask.shape, dtype=scores.dtype)
        ignored = ignored.masked_fill(~text_mask, -9e15).repeat_interleave(block.num_heads, 0)
        to_image = (scores + ignored[:, None]).softmax(-1)
        to_text = F.dropout(to_text, block.dropout, self.training)
        to_image = F.dropout(to_image, block.dropout, self.training)
        image_update = block.image_out(self._joined(to_image @ text_value, len(image)))
        text_update = block.text_out(self._joined(to_text @ image_value, len(text)))
        return image + block.image_gate * image_update, text + block.text_gate * text_update

    def _heads(self, x: Tensor) -> Tensor:
        """[B, N, H * a] to [B * H, N, a]."""
        split = x.view(*x.shape[:2], self.block.num_heads, -1).transpose(1, 2)
        return split.contiguous().flatten(0, 1)

    def _joined(self, x: Tensor, batch: int) -> Tensor:
        """[B * H, N, a] to [B, N, H * a]."""
        return x.view(batch, -1, *x.shape[1:]).transpose(1, 2).flatten(2)


class _TorchvisionConv(nn.Module):
    """The deformable convolution by torchvision's operator, on every device."""

    def __init__(self, conv: DeformableConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(
        self,
        maps: SampledMaps,
        chosen: Sequence[int],
        offsets: Sequence[Tensor],
        masks: Sequence[Tensor],
    ) -> list[Tensor]:
        conv = self.conv
        return [
            conv.norm(
                torchvision_conv2d(
                    maps.maps[m].contiguous(),
                    offset.contiguous(),
                    mask.contiguous(),
                    conv.weight.contiguous(),
                    conv.bias,
                    stride=conv.stride,
                )
            )
            for m, offset, mask in zip(chosen, offsets, masks, strict=True)
        ]


class _WrittenOutWindows(nn.Module):
    """Window attention as two products with a softmax between."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        attention = self.attention
        batch, count, cells, width = x.shape
        qkv = attention.qkv(x).view(batch * count, cells, 3, attention.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + attention.bias()
        whole = count - len(windows.mask)
        mask = F.pad(windows.mask, (0, 0, 0, 0, whole, 0))  # [windows, T, T]
        scores = scores.view(batch, count, *scores.shape[1:]) + mask[:, None]
        mixed = scores.flatten(0, 1).softmax(-1) @ value
        out: Tensor = attention.proj(mixed.transpose(1, 2).reshape(batch, count, cells, width))
        return out
