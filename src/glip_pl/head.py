"""Heads: S = O·Pᵀ and boxes, the same classes for every plugin.

Regions O and tokens P come from a fusion plugin. `Alignment` compares the two; `AnchorBoxes` moves
and scales priors, `RefinedBoxes` moves them in inverse-sigmoid space, step by step. `GroundingHead`
is GLIP's, which the model calls after a plugin; a plugin that compares or places boxes inside its
own forward holds a `RefinementHead`. See GLIP, Sec. 3.1 (https://arxiv.org/abs/2112.03857), and
Grounding DINO, Sec. 3 (https://arxiv.org/abs/2303.05499).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from glip_pl.boxes import decode, to_cxcywh, to_xyxy
from glip_pl.fusion import FusionOutput
from glip_pl.layers.alignment import MAX_LOGIT, Alignment, Bias, Scale, Told
from glip_pl.layers.precision import at_least_fp32

# How near to 0 or 1 a coordinate of a box may come before its inverse sigmoid.
NEAREST = 1e-5


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
        told: Whether tokens are compared one by one, or the phrases that they make up.
    """

    logits: Tensor
    boxes: Tensor
    centerness: Tensor | None
    priors: Tensor
    level_sizes: tuple[int, ...]
    intermediate: tuple["GroundingOutput", ...] = ()
    extra: "GroundingOutput | None" = None
    told: Told = "tokens"


@dataclass(frozen=True)
class HeadStart:
    """Where the two scales of GLIP's head start; what was trained replaces them.

    Attributes:
        initial_temperature: Of τ. GLIP starts from 1; a lower one lets alignment grow faster where
            regions and words are learned from scratch.
        initial_box_scale: Of the levels' scales. GLIP starts from 1; offsets, in tenths of an
            anchor, then take hundreds of steps to reach the size that they need.
    """

    initial_temperature: float = 0.1
    initial_box_scale: float = 8.0


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
        start: Start values of temperature and scales.
        prior_probability: See `Alignment`.
    """

    def __init__(
        self,
        d_model: int,
        d_token: int,
        *,
        num_levels: int = 5,
        start: HeadStart | None = None,
        prior_probability: float = 0.01,
    ) -> None:
        start = start or HeadStart()
        super().__init__(
            d_model,
            d_token,
            initial_temperature=start.initial_temperature,
            prior_probability=prior_probability,
        )
        self.box_offset = AnchorBoxes(d_model)
        self.level_scale = nn.Parameter(torch.full((num_levels,), start.initial_box_scale))
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
