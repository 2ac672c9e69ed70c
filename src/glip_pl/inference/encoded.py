"""Images with the work done that needs no text, and how their pixels are found again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from glip_pl.fusion import PyramidFeatures
from glip_pl.inference.batching import View
from glip_pl.inference.pixels import ImageLike, as_pixels, listed


@dataclass(frozen=True)
class EncodedImage:
    """An image with all the work done that needs no text; it may be asked many prompts.

    Attributes:
        features: What the backbone and the pyramid made of it.
        view: The image as the model saw it.
        source: Path or URL, where it has one.
        load_pixels: Returns the image, uint8 [H, W, 3].
    """

    features: PyramidFeatures
    view: View
    source: str | None
    load_pixels: Callable[[], np.ndarray]


def loader(pixels: np.ndarray, source: str | None) -> Callable[[], np.ndarray]:
    """Keep pixels that have no file, and read others again when they are wanted."""
    if source is not None and Path(source).is_file():
        return partial(as_pixels, source)
    return lambda: pixels


def all_listed(
    images: ImageLike | EncodedImage | Sequence[ImageLike | EncodedImage],
) -> list[ImageLike | EncodedImage]:
    """Return images, encoded or not, one or many, as a list.

    Raises:
        ValueError: There is none.
    """
    if isinstance(images, EncodedImage):
        return [images]
    return listed(images)
