"""What flows through the program: samples, batches of them, and detections.

A data set makes a `Sample`, which still has strings; `glip_pl.data.collate` turns samples into a
`Batch`, from where on no string is needed; a detector turns a batch into `Detections`.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from glip_pl.prompts import Chunk, Prompt
from glip_pl.prompts.tokens import TokenBatch


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


@dataclass(frozen=True)
class Detections:
    """Labelled boxes of one image, best first.

    Attributes:
        boxes: [D, 4], xyxy pixels of the original image, inside it.
        scores: [D] in [0, 1].
        phrases: [D], index into the phrases of the prompt.
    """

    boxes: Tensor
    scores: Tensor
    phrases: Tensor

    def select(self, index: Tensor) -> "Detections":
        """Keep some of the boxes, by Boolean mask or by indices."""
        return Detections(self.boxes[index], self.scores[index], self.phrases[index])

    def best_of_each_place(self, iou: float = 0.7) -> "Detections":
        """Keep only the best phrase where boxes of several phrases lie on one thing."""
        return self.select(nms(self.boxes, self.scores, iou))
