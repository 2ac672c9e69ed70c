"""The contract between the model and a fusion plugin: what goes in, what comes out.

A fusion plugin turns an image pyramid and token features into regions O and tokens P that the
shared grounding head compares, S = O·Pᵀ. It decides *where* image and text meet: only in the head
(late), in every layer (deep) or in a decoder (query). Everything before and after is the same for
all.
A plugin that compares or places boxes inside its forward brings its own head.
`glip_pl.testing.check_fusion_plugin` holds each promise made here. See GLIP, Sec. 3
(https://arxiv.org/abs/2112.03857).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from glip_pl.boxes import to_xyxy
from glip_pl.matching import ATSSMatcher, Matcher


@dataclass(frozen=True)
class PyramidFeatures:
    """An image as maps of falling resolution.

    Attributes:
        levels: One map per level, finest first, each [B, d_model, H_l, W_l].
        strides: Pixels of the padded input per cell, one per level.
        mask: [B, H, W] over the padded input, True where a pixel is real.
    """

    levels: tuple[Tensor, ...]
    strides: tuple[int, ...]
    mask: Tensor


@dataclass(frozen=True)
class TextFeatures:
    """A caption as token features.

    Attributes:
        hidden: Last layer of the text encoder, [B, M, d_text].
        mask: [B, M], True where a token is real ([CLS], [SEP] and separators included).
        phrases: Which phrase each token belongs to, [B, M], any numbers; tokens of one phrase stand
            side by side. None where that is not known.
    """

    hidden: Tensor
    mask: Tensor
    phrases: Tensor | None = None

    def phrase_numbers(self) -> Tensor:
        """Return the phrase of each token, [B, M]; what is not told apart is one phrase."""
        if self.phrases is None:
            return torch.zeros(self.mask.shape, dtype=torch.long, device=self.mask.device)
        return self.phrases


@dataclass(frozen=True)
class ExtraQueries:
    """Queries that training adds to those of a plugin.

    Attributes:
        contents: [B, E, d_model].
        boxes: Where they start, [B, E, 4], xyxy pixels of the padded input.
        sees: Boolean [B, E, E], True where one may see another; no query of the plugin sees any.
        mask: Boolean [B, E], True where a query is one, and not padding.
    """

    contents: Tensor
    boxes: Tensor
    sees: Tensor
    mask: Tensor


@dataclass(frozen=True)
class FusionOutput:
    """What the grounding head compares.

    Attributes:
        regions: O, [B, N, d_model].
        tokens: P, [B, M, d_token].
        priors: The box each region starts from, [B, N, 4], xyxy pixels of the padded input.
        level_sizes: How many regions each pyramid level holds; they sum to N.
        intermediate: Regions of earlier layers, each [B, N, d_model], supervised like the last.
        intermediate_priors: Their priors, where these are not those of the last layer.
        image_size: (width, height) of the real images in pixels, [B, 2], for heads that place boxes
            inside them.
        mask: Boolean [B, N], True where a region is one; all are by default.
        extra: The layers of the extra queries.
    """

    regions: Tensor
    tokens: Tensor
    priors: Tensor
    level_sizes: tuple[int, ...]
    intermediate: tuple[Tensor, ...] = ()
    intermediate_priors: tuple[Tensor, ...] = ()
    image_size: Tensor | None = None
    mask: Tensor | None = None
    extra: "FusionOutput | None" = None

    @classmethod
    def of_queries(
        cls,
        regions: Sequence[Tensor],
        priors: Sequence[Tensor],
        tokens: Tensor,
        image_size: Tensor,
        mask: Tensor | None = None,
    ) -> Self:
        """Put the layers of a decoder together.

        Args:
            regions: Of each layer, first to last, [B, Q, d_model].
            priors: Their priors [B, Q, 4], (cx, cy, w, h) in fractions of the real image.
            tokens: See `FusionOutput`, as for the following.
            image_size: [B, 2].
            mask: [B, Q].
        """
        extent = image_size.repeat(1, 2)[:, None]
        *earlier, last = (to_xyxy(prior) * extent for prior in priors)
        return cls(
            regions=regions[-1],
            tokens=tokens,
            priors=last,
            level_sizes=(regions[-1].shape[1],),
            intermediate=tuple(regions[:-1]),
            intermediate_priors=tuple(earlier),
            image_size=image_size,
            mask=mask,
        )


class FusionPlugin(nn.Module, ABC):
    """Base class of every fusion plugin.

    A subclass takes `d_model` and `d_text` as keyword arguments (the command line fills them from
    the model), sets `d_token` before its constructor returns, and registers under the entry point
    group ``glip_pl.fusion``.

    Attributes:
        d_token: Width of the tokens that `forward` returns.
        takes_extra: Whether `forward` takes `ExtraQueries` as its third argument.
    """

    d_token: int
    takes_extra: bool = False

    def make_matcher(self) -> Matcher:
        """Make what pairs regions with boxes in training.

        `ATSSMatcher`, where regions are cells and priors their anchors; a plugin whose regions are
        a set takes `HungarianMatcher`, or a `Matcher` of its own.
        """
        return ATSSMatcher()

    def own_head(self) -> nn.Module | None:
        """Return the head that this plugin calls inside its forward, and the model after it.

        It turns a `FusionOutput` into a `glip_pl.head.GroundingOutput`. None takes GLIP's head,
        with boxes from anchors.
        """
        return None

    def prepare_image(self, image: PyramidFeatures) -> PyramidFeatures:
        """Do the work that needs no text, once per image; the result may serve many prompts."""
        return image

    @abstractmethod
    def forward(self, image: PyramidFeatures, text: TextFeatures) -> FusionOutput:
        """Fuse a prepared image with a text."""
