"""The contract of matchers: regions and boxes of one image in, which region takes which box out.

A matcher also owns what follows from its choice: what centerness learns at a matched region, and
how much the region's box counts. It knows neither head nor criterion, so that a fusion plugin can
bring one of its own (`glip_pl.fusion.FusionPlugin.make_matcher`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Regions:
    """What the head says of the regions of one image and layer.

    Attributes:
        logits: S, [N, M], alignment of region and token before the sigmoid.
        boxes: Predicted, [N, 4], xyxy pixels of the padded input.
        priors: The box each region started from, [N, 4], xyxy pixels of the padded input.
        level_sizes: Regions per pyramid level; they sum to N.
    """

    logits: Tensor
    boxes: Tensor
    priors: Tensor
    level_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Objects:
    """The boxes of one image that regions may take.

    Attributes:
        boxes: [G, 4], xyxy pixels of the padded input; G may be 0.
        tokens: Boolean [G, M], True where box g shows token m.
        size: (height, width) of the image inside the padding, in pixels.
        inset: Pixels by which a centre must lie further inside a box than in this frame, where box
            ends are counted as inclusive.
        crowds: [I, 4], boxes of crowds, which no region takes.
        crowd_tokens: Boolean [I, M], True where crowd i shows token m.
    """

    boxes: Tensor
    tokens: Tensor
    size: tuple[int, int]
    inset: float = 0.0
    crowds: Tensor | None = None
    crowd_tokens: Tensor | None = None


class Matcher(ABC):
    """Base class of every matcher."""

    @abstractmethod
    def match(self, regions: Regions, objects: Objects) -> Tensor:
        """Pair the regions of an image with its boxes; no gradient passes.

        Returns:
            The index of the box that each region takes, [N], -1 for none.
        """

    @abstractmethod
    def centerness(self, priors: Tensor, predicted: Tensor, boxes: Tensor) -> Tensor:
        """Compute what centerness should be at matched regions, [P] in [0, 1].

        Args:
            priors: The boxes that the regions started from, [P, 4], xyxy pixels.
            predicted: Their boxes now, [P, 4].
            boxes: The boxes that they take, [P, 4].
        """

    def weights(self, centerness: Tensor) -> Tensor:
        """Return how much the box losses of matched regions count, [P]; equally by default.

        Args:
            centerness: What `centerness` returned, [P].
        """
        return torch.ones_like(centerness)
