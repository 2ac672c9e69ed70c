"""What flows through the program: samples, batches of them, and detections.

A data set makes a `Sample`, which still has strings; `glip_pl.data.collate` turns samples into a
`Batch`, from where on no string is needed; a detector turns a batch into `Detections`. What is
asked, a `Question`, is kept apart from what is known, a `Truth`: prediction has none of the latter.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from glip_pl.boxes import nms
from glip_pl.prompts import Chunk, Prompt
from glip_pl.prompts.tokens import TokenBatch


@dataclass(frozen=True)
class Truth:
    """What is in one image, where that is known.

    Attributes:
        boxes: [G, 4], xyxy pixels of the image that they are given with; padding at the bottom and
            on the right moves none.
        shows: Boolean [G, K], True where box g shows phrase k of the prompt.
        crowd: Boolean [G], True for a box around many objects (COCO's ``iscrowd``); crowds are
            ignored by losses and treated as COCO does by metrics.
        image_id: The data set's id of the image.
        phrase_types: Per phrase, the kinds that the data set puts it in ("people"; it may be
            several), for reports only; empty when the data set has none.
    """

    boxes: Tensor
    shows: Tensor
    crowd: Tensor
    image_id: int
    phrase_types: tuple[tuple[str, ...], ...] = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device."""
        return replace(
            self,
            boxes=self.boxes.to(device, non_blocking=non_blocking),
            shows=self.shows.to(device, non_blocking=non_blocking),
            crowd=self.crowd.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class Sample:
    """One image with what is asked of it and, where that is known, what is there.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        prompt: The caption and its K phrases.
        phrase_ids: [K], the data set's category id of each phrase; -1 when the phrases are free
            text.
        original_size: (height, width) in pixels before any resize.
        truth: The boxes, in pixels of `image`; None when nothing is known, as in prediction.
        chunks: The prompt in parts that the text encoder can read; empty when it reads the whole.
    """

    image: np.ndarray
    prompt: Prompt
    phrase_ids: Tensor
    original_size: tuple[int, int]
    truth: Truth | None = None
    chunks: tuple[Chunk, ...] = ()


@dataclass(frozen=True)
class Question:
    """What one image of a batch is asked, and what it takes to answer.

    Attributes:
        prompt: The words, for pictures and reports only.
        positive_map: Boolean [K, M], True where phrase k covers token m.
        weights: [K, M], how much token m counts for phrase k where phrases are compared as a whole.
        phrase_ids: [K], category ids, -1 for free text.
        size: (height, width) of the resized image inside the padding.
        original_size: (height, width) of the image file.
    """

    prompt: Prompt
    positive_map: Tensor
    weights: Tensor
    phrase_ids: Tensor
    size: tuple[int, int]
    original_size: tuple[int, int]

    def select_tokens(self, columns: slice) -> Self:
        """Keep some of the M tokens; phrases that stand elsewhere are left with none."""
        return replace(
            self, positive_map=self.positive_map[:, columns], weights=self.weights[:, columns]
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device."""
        return replace(
            self,
            positive_map=self.positive_map.to(device, non_blocking=non_blocking),
            weights=self.weights.to(device, non_blocking=non_blocking),
            phrase_ids=self.phrase_ids.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class Batch:
    """Images and tokens that the model sees together, with what is asked and what is known.

    Attributes:
        images: uint8 [B, 3, H, W], RGB, padded with zeros at the bottom and on the right.
        mask: Boolean [B, H, W], True where a pixel is real.
        tokens: The tokenized captions; where a prompt has several chunks, one after the other.
        questions: One per image.
        chunk_sizes: How many of the M tokens each chunk takes; in training there is one chunk.
        truths: One per image; None when nothing is known, as in prediction.
    """

    images: Tensor
    mask: Tensor
    tokens: TokenBatch
    questions: tuple[Question, ...]
    chunk_sizes: tuple[int, ...]
    truths: tuple[Truth, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def known(self) -> tuple[Truth, ...]:
        """Return the truth of every image.

        Raises:
            ValueError: Nothing is known of the images.
        """
        if self.truths is None:
            raise ValueError(
                "this batch has images without a truth, which can be neither learned from nor "
                "judged; use it for prediction only"
            )
        return self.truths

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device; Lightning calls this."""
        truths = self.truths
        return type(self)(
            self.images.to(device, non_blocking=non_blocking),
            self.mask.to(device, non_blocking=non_blocking),
            self.tokens.to(device, non_blocking=non_blocking),
            tuple(question.to(device, non_blocking) for question in self.questions),
            self.chunk_sizes,
            truths and tuple(truth.to(device, non_blocking) for truth in truths),
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

    def to(self, device: torch.device | str) -> "Detections":
        """Move every tensor to a device."""
        return Detections(self.boxes.to(device), self.scores.to(device), self.phrases.to(device))

    def select(self, index: Tensor | slice) -> "Detections":
        """Keep some of the K boxes, by a Boolean mask [K], by indices [k] or by a slice."""
        return Detections(self.boxes[index], self.scores[index], self.phrases[index])

    def best_of_each_place(self, iou: float = 0.7) -> "Detections":
        """Keep only the best phrase where boxes of several phrases lie on one thing."""
        return self.select(nms(self.boxes, self.scores, iou))
