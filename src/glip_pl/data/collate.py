"""From samples to a batch: tokens, padded images and positive maps; from here on no strings."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from glip_pl.prompts import Chunk, Prompt, compile_chunk
from glip_pl.prompts.tokens import TokenBatch, Tokenizer
from glip_pl.structures import Batch, Question, Sample
from glip_pl.system.image_size import PAD_MULTIPLE


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
        ValueError: A caption is too long for the tokenizer, prompts differ in their chunks, or the
            truth is known of some images and not of others.
    """
    images, mask = pad_images([sample.image for sample in samples])
    chunks = [sample.chunks or (_whole(sample.prompt, tokenizer),) for sample in samples]
    if len({len(parts) for parts in chunks}) > 1:
        raise ValueError(
            "the prompts of a batch have different numbers of chunks; evaluate sets of other "
            "vocabularies one by one"
        )
    tokens = [
        TokenBatch.stack([chunk.tokens for chunk in of_place])
        for of_place in zip(*chunks, strict=True)
    ]
    sizes = tuple(part.ids.shape[1] for part in tokens)
    questions = tuple(
        Question(
            prompt=sample.prompt,
            positive_map=_placed([c.positive_map for c in chunks[b]], sample, chunks[b], sizes),
            weights=_placed([c.weights for c in chunks[b]], sample, chunks[b], sizes),
            phrase_ids=sample.phrase_ids,
            size=(sample.image.shape[0], sample.image.shape[1]),
            original_size=sample.original_size,
        )
        for b, sample in enumerate(samples)
    )
    truths = tuple(sample.truth for sample in samples if sample.truth is not None)
    if truths and len(truths) < len(samples):
        raise ValueError(
            f"the truth is known of {len(truths)} of the {len(samples)} images of a batch; put "
            "images with and without it into batches of their own"
        )
    return Batch(images, mask, TokenBatch.join(tokens), questions, sizes, truths or None)


def _whole(prompt: Prompt, tokenizer: Tokenizer) -> Chunk:
    return compile_chunk(prompt, range(len(prompt.tokens_positive)), tokenizer)


def _placed(
    maps: Sequence[Tensor], sample: Sample, chunks: Sequence[Chunk], sizes: Sequence[int]
) -> Tensor:
    """Place the maps of all chunks among the padded tokens of all, [phrases of the prompt, M]."""
    rows = maps[0].new_zeros(len(sample.phrase_ids), sum(sizes))
    start = 0
    for mapped, chunk, size in zip(maps, chunks, sizes, strict=True):
        rows[list(chunk.phrase_ids), start : start + mapped.shape[1]] = mapped
        start += size
    return rows
