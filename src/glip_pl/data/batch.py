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

from glip_pl.prompts import Chunk, Prompt, positive_map
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
        chunks: The prompt in parts that the text encoder can read; empty when it reads the whole.
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
    chunks: tuple[Chunk, ...] = ()


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

    def select_tokens(self, columns: slice) -> Self:
        """Keep some of the M tokens; phrases that stand elsewhere are left with none."""
        return replace(self, positive_map=self.positive_map[:, columns])

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
        tokens: The tokenized captions; where a prompt has several chunks, one after the other.
        targets: One per image.
        chunk_sizes: How many of the M tokens each chunk takes; in training there is one chunk.
    """

    images: Tensor
    mask: Tensor
    tokens: TokenBatch
    targets: tuple[Target, ...]
    chunk_sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device; Lightning calls this."""
        return type(self)(
            self.images.to(device, non_blocking=non_blocking),
            self.mask.to(device, non_blocking=non_blocking),
            self.tokens.to(device, non_blocking=non_blocking),
            tuple(target.to(device, non_blocking) for target in self.targets),
            self.chunk_sizes,
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
    """Make a batch of samples; from here on no string is needed.

    Raises:
        ValueError: A caption is too long for the tokenizer, or prompts differ in their chunks.
    """
    images, mask = pad_images([sample.image for sample in samples])
    chunks = [sample.chunks or (_whole(sample.prompt),) for sample in samples]
    if len({len(parts) for parts in chunks}) > 1:
        raise ValueError(
            "the prompts of a batch have different numbers of chunks; evaluate sets of other "
            "vocabularies one by one"
        )
    tokens = [
        tokenizer([chunk.prompt for chunk in of_place]) for of_place in zip(*chunks, strict=True)
    ]
    targets = tuple(
        Target(
            boxes=sample.boxes,
            shows=sample.shows,
            positive_map=_positive_map(
                len(sample.prompt.tokens_positive), chunks[b], [part.offsets[b] for part in tokens]
            ),
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
    sizes = tuple(part.ids.shape[1] for part in tokens)
    return Batch(images, mask, TokenBatch.join(tokens), targets, sizes)


def _whole(prompt: Prompt) -> Chunk:
    return Chunk(prompt, tuple(range(len(prompt.tokens_positive))))


def _positive_map(count: int, chunks: Sequence[Chunk], offsets: Sequence[Tensor]) -> Tensor:
    """Map all phrases to the tokens of all chunks, Boolean [count, M]."""
    rows = torch.zeros(count, sum(len(part) for part in offsets), dtype=torch.bool)
    start = 0
    for chunk, part in zip(chunks, offsets, strict=True):
        mapped = positive_map(part, chunk.prompt.tokens_positive)
        rows[list(chunk.phrase_ids), start : start + len(part)] = mapped
        start += len(part)
    return rows
