"""Which images go through the model together, so that none changes what is found in another."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from glip_pl.data.collate import collate
from glip_pl.data.resize import resize_pixels
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Batch, Sample
from glip_pl.system.image_size import PAD_MULTIPLE, keep_ratio_size

# Images of a batch where nobody says how many: so many pixels of them, within bounds.
_PIXELS = 2**19
FEWEST, MOST = 8, 32


@dataclass(frozen=True)
class View:
    """An image as the model sees it.

    Attributes:
        pixels: uint8 [h, w, 3], resized.
        original_size: (height, width) before the resize.
    """

    pixels: np.ndarray
    original_size: tuple[int, int]

    @classmethod
    def of(cls, pixels: np.ndarray, short_side: int, max_side: int) -> "View":
        """Resize an image, uint8 [H, W, 3]."""
        size = (pixels.shape[0], pixels.shape[1])
        return cls(resize_pixels(pixels, keep_ratio_size(size, short_side, max_side)), size)

    @property
    def padded_size(self) -> tuple[int, int]:
        """(height, width) with padding, where the image is alone."""
        height, width = self.pixels.shape[:2]
        return -(-height // PAD_MULTIPLE) * PAD_MULTIPLE, -(-width // PAD_MULTIPLE) * PAD_MULTIPLE


def group(
    views: Sequence[View], prompts: Sequence[CompiledPrompt], batch_size: int | None
) -> list[list[int]]:
    """Cut images into batches in which each is computed as if it were alone.

    A batch has one padded shape and one number of chunks. It is sorted by the number of tokens,
    since padded tokens make attention slower.

    Args:
        views: The images.
        prompts: What to look for in each.
        batch_size: Images at a time; None takes more of small ones.

    Returns:
        Positions of the images, batch by batch.
    """
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for k, (view, prompt) in enumerate(zip(views, prompts, strict=True)):
        alike[(view.padded_size, len(prompt.chunks))].append(k)
    batches = []
    for members in alike.values():
        size = batch_size or _batch_size(views[members[0]].padded_size)
        ordered = sorted(members, key=lambda k: prompts[k].report.token_counts)
        batches += [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return batches


def _batch_size(padded_size: tuple[int, int]) -> int:
    """Return how many images of a size, (height, width), are computed at a time.

    Each operator of a network costs some microseconds however little it has to do: small images
    share them.
    """
    height, width = padded_size
    return min(max(FEWEST, _PIXELS // (height * width)), MOST)


def batch_of(
    views: Sequence[View], prompts: Sequence[CompiledPrompt], tokenizer: Tokenizer
) -> Batch:
    """Make a batch of images that `group` put together."""
    samples = [_sample(view, prompt) for view, prompt in zip(views, prompts, strict=True)]
    return collate(samples, tokenizer)


def _sample(view: View, prompt: CompiledPrompt) -> Sample:
    """Make a sample of which nothing is known."""
    return Sample(
        image=view.pixels,
        # All that is asked stands in the chunks; nobody reads a caption of all names.
        prompt=prompt.chunks[0].prompt,
        phrase_ids=torch.full((len(prompt.names),), -1),
        original_size=view.original_size,
        chunks=prompt.chunks,
    )
