"""Transforms: crop, colour, resize and flip, with boxes, phrases and captions kept in step.

All randomness comes from torch's generator, albumentations' own is seeded from it in every call:
so one seed fixes a run, and neither workers nor epochs repeat each other.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # Importing it would ask a server otherwise.
import albumentations as A
import cv2

from glip_pl.data.resize import resize_pixels
from glip_pl.prompts import mirror
from glip_pl.structures import Sample, Truth
from glip_pl.system.image_size import keep_ratio_size

# The loader's workers are the parallelism; threads on top only get in the way.
cv2.setNumThreads(0)

_SMALLEST_CROP = 0.6  # Of each side: a box as large as the image keeps at least 36 % of its area.
_BOXES = {"format": "pascal_voc", "label_fields": ["rows"], "clip": True}
_FLIP = A.Compose([A.HorizontalFlip(p=1.0)], bbox_params=A.BboxParams(**_BOXES))
_COLOR = A.Compose([A.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05, p=1.0)])


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What happens to a sample between the file and the batch.

    Attributes:
        short_sides: The image's shorter side after resize, in pixels; one is drawn per sample
            unless the call says which.
        max_side: Bound of the longer side, which wins over the shorter one.
        flip: Probability of a horizontal flip.
        mirror_captions: Whether "left" and "right" change places in the caption of a flipped image;
            official GLIP leaves captions as they are.
        crop: Probability of a random crop that keeps at least one box, whole if it fits.
        color: Probability of a mild change of colours.
    """

    short_sides: Sequence[int] = (800,)
    max_side: int = 1333
    flip: float = 0.0
    mirror_captions: bool = True
    crop: float = 0.0
    color: float = 0.0

    def __post_init__(self) -> None:
        if not self.short_sides or min(*self.short_sides, self.max_side) < 1:
            raise ValueError(
                f"short_sides {list(self.short_sides)} and max_side {self.max_side} must be "
                "positive numbers of pixels, for example short_sides: [800] and max_side: 1333"
            )
        for name in ("flip", "crop", "color"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability from 0 to 1, not {getattr(self, name)}")

    @property
    def is_random(self) -> bool:
        """Whether two calls may differ."""
        return len(self.short_sides) > 1 or max(self.flip, self.crop, self.color) > 0

    @property
    def needed_side(self) -> int:
        """Pixels of the shorter side beyond which no image needs any, whatever is drawn."""
        return math.ceil(max(self.short_sides) / (_SMALLEST_CROP if self.crop else 1))

    def __call__(self, sample: Sample, *, short_side: int | None = None) -> Sample:
        """Transform a sample; a crop may drop boxes, never phrases.

        Args:
            sample: What to transform.
            short_side: The shorter side wanted; None draws one of `short_sides`.
        """
        if _chance(self.crop):
            sample = _crop(sample)
        if _chance(self.color):
            _reseed(_COLOR)
            sample = replace(sample, image=_COLOR(image=sample.image)["image"])
        if short_side is None:
            short_side = self.short_sides[int(torch.randint(len(self.short_sides), ()))]
        height, width = sample.image.shape[:2]
        sample = _resize(sample, keep_ratio_size((height, width), short_side, self.max_side))
        if _chance(self.flip):
            prompt = mirror(sample.prompt) if self.mirror_captions else sample.prompt
            sample = replace(_apply(_FLIP, sample), prompt=prompt)
        return sample


def _chance(probability: float) -> bool:
    return probability > 0 and bool(torch.rand(()) < probability)


def _reseed(compose: A.Compose) -> None:
    compose.set_random_seed(int(torch.randint(2**31, ())))


def _apply(compose: A.Compose, sample: Sample) -> Sample:
    """Move pixels and boxes; a dropped box takes its row of `shows` and its crowd flag along."""
    _reseed(compose)
    truth = sample.truth
    boxes = np.zeros((0, 4), dtype=np.float32) if truth is None else truth.boxes.numpy()
    moved = compose(image=sample.image, bboxes=boxes, rows=np.arange(len(boxes)))
    if truth is not None:
        kept = torch.as_tensor(np.asarray(moved["rows"]), dtype=torch.long)
        truth = replace(
            truth,
            boxes=torch.as_tensor(np.asarray(moved["bboxes"]), dtype=torch.float32).reshape(-1, 4),
            shows=truth.shows[kept],
            crowd=truth.crowd[kept],
        )
    return replace(sample, image=moved["image"], truth=truth)


def _crop(sample: Sample) -> Sample:
    """Cut out 60 to 100 % of each side; boxes cut below a quarter or to under two pixels go."""
    height, width = (
        max(int(side * (1 - (1 - _SMALLEST_CROP) * float(torch.rand(())))), 1)
        for side in sample.image.shape[:2]
    )
    keep = A.BboxParams(**_BOXES, min_visibility=0.25, min_width=2, min_height=2)
    crop = A.AtLeastOneBBoxRandomCrop(height=height, width=width, p=1.0)
    return _apply(A.Compose([crop], bbox_params=keep), sample)


def _resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """Resize pixels and boxes to (height, width)."""
    before = sample.image.shape[:2]
    if before == size:
        return sample
    image = resize_pixels(sample.image, size)
    return replace(sample, image=image, truth=scaled(sample.truth, before, size))


def scaled(truth: Truth | None, before: tuple[int, ...], after: tuple[int, ...]) -> Truth | None:
    """Move boxes along with an image that was resized from one (height, width) to another."""
    if truth is None:
        return None
    scale = torch.tensor([after[1] / before[1], after[0] / before[0]]).repeat(2)
    return replace(truth, boxes=truth.boxes * scale)
