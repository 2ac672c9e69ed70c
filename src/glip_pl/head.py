"""Heads: S = O·Pᵀ and boxes, the same classes for every plugin.

Regions O and tokens P come from a fusion plugin. `Alignment` compares the two; `AnchorBoxes` moves
and scales priors, `RefinedBoxes` moves them in inverse-sigmoid space, step by step. `GroundingHead`
is GLIP's, which the model calls after a plugin; a plugin that compares or places boxes inside its
own forward holds a `RefinementHead`. See GLIP, Sec. 3.1 (https://arxiv.org/abs/2112.03857), and
Grounding DINO, Sec. 3 (https://arxiv.org/abs/2303.05499).
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.boxes import decode, to_cxcywh, to_xyxy
from glip_pl.fusion import FusionOutput
from glip_pl.layers.precision import at_least_fp32

# Beyond it a logit says nothing more, and float16 would overflow.
MAX_LOGIT = 50_000.0
# How near to 0 or 1 a coordinate of a box may come before its inverse sigmoid.
NEAREST = 1e-5

Scale = Literal["temperature", "root", "none"]
Bias = Literal["tokens", "one", "none"]


@dataclass(frozen=True)
class GroundingOutput:
    """What the head says of one layer of regions.

    Attributes:
        logits: S, [B, N, M], alignment of region and token before the sigmoid.
        boxes: [B, N, 4], xyxy pixels of the padded input, not clipped.
        centerness: [B, N], before the sigmoid; None where regions are no cells with a place.
        priors: [B, N, 4], the boxes that the offsets started from.
        level_sizes: Regions per pyramid level; they sum to N.
        intermediate: The same for earlier layers, first to last.
        extra: The same for the extra queries that training asked for.
    """

    logits: Tensor
    boxes: Tensor
    centerness: Tensor | None
    priors: Tensor
    level_sizes: tuple[int, ...]
    intermediate: tuple["GroundingOutput", ...] = ()
    extra: "GroundingOutput | None" = None


class Alignment(nn.Module):
    """Compare regions with tokens: S = s · O Kᵀ + b.

    Args:
        d_model: Width of the regions.
        d_token: Width of the tokens.
        scale: s is one over a learned temperature, one over √d ("root"), or 1 ("none").
        bias: b is learned: for each token a product with its unit-length features, and a constant
            ("tokens"), or the constant alone ("one"); or there is none.
        projection: Whether the keys K are half the unit-length tokens, projected to `d_model`, as
            in GLIP; or the tokens as they are.
        initial_temperature: Start value of the temperature.
        prior_probability: Alignment that an untrained constant predicts, so that the many negatives
            of the first steps do not swamp the loss (arXiv 1708.02002, Sec. 3.3).

    Raises:
        ValueError: Without projection tokens are as wide as regions.
    """

    def __init__(
        self,
        d_model: int,
        d_token: int,
        *,
        scale: Scale = "temperature",
        bias: Bias = "tokens",
        projection: bool = True,
        initial_temperature: float = 0.1,
        prior_probability: float = 0.01,
    ) -> None:
        super().__init__()
        if not projection and d_model != d_token:
            raise ValueError(
                f"regions are {d_model} wide and tokens {d_token}; project the tokens, or make "
                "both as wide"
            )
        self.divisor = math.sqrt(d_model) if scale == "root" else 1.0
        self.token_projection = nn.Linear(d_token, d_model) if projection else None
        self.token_bias = nn.Parameter(torch.zeros(d_token)) if bias == "tokens" else None
        prior_logit = -math.log((1 - prior_probability) / prior_probability)
        self.prior_bias = nn.Parameter(torch.tensor([prior_logit])) if bias != "none" else None
        start = torch.full((1,), math.log(initial_temperature))
        self.log_temperature = nn.Parameter(start) if scale == "temperature" else None

    def forward(self, regions: Tensor, tokens: Tensor) -> Tensor:
        """Compare regions [B, N, d_model] with tokens [B, M, d_token], to logits [B, N, M]."""
        return self.compare(regions, *self.keys(tokens))

    def keys(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Prepare tokens for any number of comparisons: keys [B, M, d_model] and bias [B, M]."""
        unit = F.normalize(at_least_fp32(tokens), dim=-1).to(tokens.dtype)
        keys = tokens if self.token_projection is None else self.token_projection(unit / 2)
        if self.token_bias is None or self.prior_bias is None:
            return keys, self.prior_bias
        return keys, at_least_fp32(unit) @ self.token_bias + self.prior_bias

    def compare(self, regions: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        """Compare regions with prepared tokens."""
        # S = O (W p̂/2)ᵀ / τ + b·p̂ + b₀, with p̂ the unit-length tokens: GLIP, Sec. 3.1.
        logits = at_least_fp32(regions @ keys.transpose(1, 2)) / self.divisor
        if self.log_temperature is not None:
            logits = logits / self.log_temperature.exp()
        if bias is not None:
            logits = logits + bias[..., None, :]
        return logits.clamp(-MAX_LOGIT, MAX_LOGIT)


class AnchorBoxes(nn.Linear):
    """Boxes that move and scale a prior; see `glip_pl.boxes.decode`."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, 4)
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def place(self, regions: Tensor, priors: Tensor, scale: Tensor) -> Tensor:
        """Place the boxes of regions [B, N, d_model].

        Args:
            regions: Features.
            priors: [B, N, 4], xyxy pixels.
            scale: What offsets are multiplied by, [N, 1].

        Returns:
            [B, N, 4], xyxy pixels.
        """
        # Boxes and scores are computed in fp32: bf16 places no box better than a few pixels.
        return decode(priors, at_least_fp32(self(regions)) * scale)


class RefinedBoxes(nn.Module):
    """Boxes that move a prior in inverse-sigmoid space, so that they stay inside the image.

    At first every box is its prior.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        widths = (d_model, d_model, d_model, 4)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, regions: Tensor, boxes: Tensor) -> Tensor:
        """Move boxes [B, N, 4], (cx, cy, w, h) in fractions of the image, by what regions say."""
        x = regions
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        offsets = at_least_fp32(self.layers[-1](x))
        return (offsets + at_least_fp32(boxes).logit(NEAREST)).sigmoid()

    def place(self, regions: Tensor, priors: Tensor, size: Tensor) -> Tensor:
        """Place the boxes of regions.

        Args:
            regions: [B, N, d_model].
            priors: [B, N, 4], xyxy pixels.
            size: (width, height) of the real images in pixels, [B, 2].

        Returns:
            [B, N, 4], xyxy pixels.
        """
        extent = size.repeat(1, 2)[:, None]
        return to_xyxy(self(regions, to_cxcywh(priors) / extent)) * extent


class GroundingHead(Alignment):
    """GLIP's head: an alignment, boxes from anchors, and how central a region is.

    Args:
        d_model: Width of the regions.
        d_token: Width of the tokens.
        num_levels: Pyramid levels; each has its own scale of the box offsets.
        initial_temperature: Start value of τ. GLIP starts from 1; a lower one lets alignment grow
            faster where regions and words are learned from scratch.
        initial_box_scale: Start value of the levels' scales. GLIP starts from 1; offsets, in tenths
            of an anchor, then take hundreds of steps to reach the size that they need.
        prior_probability: See `Alignment`.
    """

    def __init__(
        self,
        d_model: int,
        d_token: int,
        *,
        num_levels: int = 5,
        initial_temperature: float = 0.1,
        initial_box_scale: float = 8.0,
        prior_probability: float = 0.01,
    ) -> None:
        super().__init__(
            d_model,
            d_token,
            initial_temperature=initial_temperature,
            prior_probability=prior_probability,
        )
        self.box_offset = AnchorBoxes(d_model)
        self.level_scale = nn.Parameter(torch.full((num_levels,), initial_box_scale))
        self.centerness = nn.Linear(d_model, 1)
        nn.init.normal_(self.centerness.weight, std=0.01)
        nn.init.zeros_(self.centerness.bias)

    # A head turns what a plugin returns into what the model returns; an alignment is a part of it.
    def forward(self, fused: FusionOutput) -> GroundingOutput:  # type: ignore[override]
        """Compare every layer of regions with the tokens."""
        keys, bias = self.keys(fused.tokens)
        last, *earlier = (
            self._layer(regions, keys, bias, fused)
            for regions in (fused.regions, *fused.intermediate)
        )
        return GroundingOutput(
            last.logits, last.boxes, last.centerness, last.priors, last.level_sizes, tuple(earlier)
        )

    def _layer(
        self, regions: Tensor, keys: Tensor, bias: Tensor | None, fused: FusionOutput
    ) -> GroundingOutput:
        logits = self.compare(regions, keys, bias)
        # A plugin may have dropped levels.
        levels = zip(self.level_scale, fused.level_sizes, strict=False)
        scale = torch.cat([scale.expand(size) for scale, size in levels])  # [N]
        boxes = self.box_offset.place(regions, fused.priors, scale[:, None])
        centerness = at_least_fp32(self.centerness(regions)).squeeze(-1)
        return GroundingOutput(logits, boxes, centerness, fused.priors, fused.level_sizes)


class RefinementHead(nn.Module):
    """An alignment and refined boxes for the proposals and for every layer of a decoder.

    Args:
        d_model: Width of regions and tokens.
        num_layers: Layers of the decoder; the proposals come before them.
        scale: See `Alignment`.
        bias: See `Alignment`.
        shared: Whether one box network serves all layers of the decoder.
    """

    def __init__(
        self, d_model: int, num_layers: int, *, scale: Scale, bias: Bias, shared: bool
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.alignments = nn.ModuleList(
            Alignment(d_model, d_model, scale=scale, bias=bias, projection=False)
            for _ in range(1 + num_layers)
        )
        self.boxes = nn.ModuleList(
            RefinedBoxes(d_model) for _ in range(2 if shared else 1 + num_layers)
        )

    def alignment(self, layer: int) -> Alignment:
        """Return what compares the proposals, for layer 0, or what a decoder's layer gives."""
        part = self.alignments[layer]
        assert isinstance(part, Alignment)
        return part

    def box(self, layer: int) -> RefinedBoxes:
        """Return what places the boxes of the same."""
        part = self.boxes[min(layer, len(self.boxes) - 1)]
        assert isinstance(part, RefinedBoxes)
        return part

    def forward(self, fused: FusionOutput) -> GroundingOutput:
        """Compare every layer with the tokens; the layers given are the last of `num_layers`."""
        priors = (*fused.intermediate_priors, fused.priors)
        first = 1 + self.num_layers - len(priors)
        *earlier, last = (
            self._layer(first + i, regions, priors[i], fused)
            for i, regions in enumerate((*fused.intermediate, fused.regions))
        )
        extra = None if fused.extra is None else self(fused.extra)
        return GroundingOutput(
            *(last.logits, last.boxes, None, last.priors, last.level_sizes),
            intermediate=tuple(earlier),
            extra=extra,
        )

    def _layer(
        self, index: int, regions: Tensor, priors: Tensor, fused: FusionOutput
    ) -> GroundingOutput:
        assert fused.image_size is not None
        logits = self.alignment(index)(regions, fused.tokens)
        if fused.mask is not None:
            logits = logits.masked_fill(~fused.mask[..., None], -MAX_LOGIT)
        boxes = self.box(index).place(regions, priors, fused.image_size)
        return GroundingOutput(logits, boxes, None, priors, fused.level_sizes)
