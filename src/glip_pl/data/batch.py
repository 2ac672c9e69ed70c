"""What flows from data sets to the model: samples, and batches made of them.

A `Sample` still has strings; `collate` tokenizes, pads and turns phrases into positive maps, and
from there on no string is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from glip_pl.prompts import Prompt, positive_map
from glip_pl.tokens import TokenBatch, Tokenizer

PAD_MULTIPLE = 32


@dataclass(frozen=True)
class Sample:
    """One image with its caption and boxes.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        boxes: [G, 4], xyxy pixels of `image`.
        prompt: The caption and its K phrases.
        shows: Boolean [G, K], True where box g shows phrase k.
        crowd: Boolean [G], True for a box around many objects (COCO's ``iscrowd``).
        phrase_ids: [K], the data set's category id of each phrase; -1 when the phrases are free
            text.
        image_id: The data set's id of the image.
        original_size: (height, width) in pixels before any resize.
        phrase_types: Per phrase, the kinds that the data set puts it in ("people"; it may be
            several); empty when the data set has none.
    """

    image: np.ndarray
    boxes: Tensor
    prompt: Prompt
    shows: Tensor
    crowd: Tensor
    phrase_ids: Tensor
    image_id: int
    original_size: tuple[int, int]
    phrase_types: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Target:
    """What one image of a batch should yield.

    Attributes:
        boxes: [G, 4], xyxy pixels of the padded input.
        shows: Boolean [G, K], True where box g shows phrase k.
        positive_map: Boolean [K, M], True where phrase k covers token m.
        crowd: Boolean [G]; crowds are ignored by losses and treated as COCO does by metrics.
        phrase_ids: [K], category ids, -1 for free text.
        size: (height, width) of the resized image inside the padding.
        original_size: (height, width) of the image file.
        image_id: The data set's id of the image.
        prompt: The words, for pictures and reports only.
        phrase_types: The kinds of each phrase, for reports only; empty when there are none.
    """

    boxes: Tensor
    shows: Tensor
    positive_map: Tensor
    crowd: Tensor
    phrase_ids: Tensor
    size: tuple[int, int]
    original_size: tuple[int, int]
    image_id: int
    prompt: Prompt
    phrase_types: tuple[tuple[str, ...], ...] = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=non_blocking)
            for name in ("boxes", "shows", "positive_map", "crowd", "phrase_ids")
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Batch:
    """Images, tokens and targets that the model sees together.

    Attributes:
        images: uint8 [B, 3, H, W], RGB, padded with zeros at the bottom and on the right.
        mask: Boolean [B, H, W], True where a pixel is real.
        tokens: The tokenized captions.
        targets: One per image.
    """

    images: Tensor
    mask: Tensor
    tokens: TokenBatch
    targets: tuple[Target, ...]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device; Lightning calls this."""
        return type(self)(
            self.images.to(device, non_blocking=non_blocking),
            self.mask.to(device, non_blocking=non_blocking),
            self.tokens.to(device, non_blocking=non_blocking),
            tuple(target.to(device, non_blocking) for target in self.targets),
        )

    def pin_memory(self) -> Self:
        """Pin the images, the only large tensor; the data loader calls this."""
        return replace(self, images=self.images.pin_memory())


def pad_images(images: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack images of different sizes, padded to a multiple of 32 pixels.

    Args:
        images: uint8 [H, W, 3] each.

    Returns:
        The padded images, uint8 [B, 3, H, W], and their mask, Boolean [B, H, W].
    """
    height, width = (
        -(-max(image.shape[axis] for image in images) // PAD_MULTIPLE) * PAD_MULTIPLE
        for axis in (0, 1)
    )
    padded = torch.zeros(len(images), 3, height, width, dtype=torch.uint8)
    mask = torch.zeros(len(images), height, width, dtype=torch.bool)
    for b, image in enumerate(images):
        h, w = image.shape[:2]
        padded[b, :, :h, :w] = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        mask[b, :h, :w] = True
    return padded, mask


def collate(samples: Sequence[Sample], tokenizer: Tokenizer) -> Batch:
    """Make a batch of samples; from here on no string is needed."""
    images, mask = pad_images([sample.image for sample in samples])
    tokens = tokenizer([sample.prompt for sample in samples])
    targets = tuple(
        Target(
            boxes=sample.boxes,
            shows=sample.shows,
            positive_map=positive_map(tokens.offsets[b], sample.prompt.tokens_positive),
            crowd=sample.crowd,
            phrase_ids=sample.phrase_ids,
            size=(sample.image.shape[0], sample.image.shape[1]),
            original_size=sample.original_size,
            image_id=sample.image_id,
            prompt=sample.prompt,
            phrase_types=sample.phrase_types,
        )
        for b, sample in enumerate(samples)
    )
    return Batch(images, mask, tokens, targets)
