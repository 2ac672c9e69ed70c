"""Pixels: the antialiased resize of training, to the last bit, and padding, in NumPy."""

import numpy as np

from glip_pl.system.image_size import PAD_MULTIPLE, keep_ratio_size

# Pillow's weights of 8 bit images are integers with so many bits behind the point.
_BITS = 22

# Sides beyond this are refused: their product would not fit into memory.
_MOST_PIXELS = 100_000_000


def check_image(image: object) -> np.ndarray:
    """Return the pixels of an image.

    Raises:
        ValueError: It is no array uint8 [H, W, 3], or too large.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        kind = type(image).__name__
        if isinstance(image, np.ndarray):
            kind = f"array of {image.dtype} with the shape {list(image.shape)}"
        raise ValueError(f"the image is a {kind}; pass an array uint8 [height, width, 3], RGB")
    if image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"the image has the shape {list(image.shape)}; pass [height, width, 3], RGB"
        )
    if image.shape[0] * image.shape[1] > _MOST_PIXELS:
        raise ValueError(f"the image has {image.shape[:2]} pixels, too many; resize it before")
    return image


def prepare(image: np.ndarray, short_side: int, max_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize and pad an image uint8 [H, W, 3] for the graph.

    Returns:
        The image, uint8 [1, 3, H', W'], and which of its pixels are real, Boolean [1, H', W'].
    """
    size = keep_ratio_size((image.shape[0], image.shape[1]), short_side, max_side)
    resized = resize(image, size)
    height, width = (-(-side // PAD_MULTIPLE) * PAD_MULTIPLE for side in size)
    padded = np.zeros((1, 3, height, width), np.uint8)
    mask = np.zeros((1, height, width), bool)
    padded[0, :, : size[0], : size[1]] = resized.transpose(2, 0, 1)
    mask[0, : size[0], : size[1]] = True
    return padded, mask


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 [H, W, 3] to (height, width) as Pillow's BILINEAR does it, bit for bit."""
    if image.shape[1] != size[1]:
        image = _along_rows(image.transpose(1, 0, 2), size[1]).transpose(1, 0, 2)
    if image.shape[0] != size[0]:
        image = _along_rows(image, size[0])
    return image


def _along_rows(image: np.ndarray, length: int) -> np.ndarray:
    """Resize the first axis: every new row is a weighted sum of the old rows around it."""
    first, weights = _weights(image.shape[0], length)
    total = np.full((length, *image.shape[1:]), 1 << (_BITS - 1), np.int64)
    for tap in range(weights.shape[1]):
        rows = np.minimum(first + tap, image.shape[0] - 1)
        total += image[rows] * weights[:, tap, None, None]
    resized: np.ndarray = np.clip(total >> _BITS, 0, 255).astype(np.uint8)
    return resized


def _weights(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first old row that each new row looks at, [n], and its weights, [n, taps]."""
    scale = before / after
    reach = max(scale, 1.0)  # A triangle of this half width; never narrower than a pixel.
    centre = (np.arange(after) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), before)
    taps = np.arange(int((end - first).max()))
    distance = np.abs((first[:, None] + taps - centre[:, None] + 0.5) / reach)
    triangle = np.where(taps < (end - first)[:, None], np.maximum(1 - distance, 0), 0)
    triangle /= triangle.sum(1, keepdims=True)
    return first, np.floor(triangle * (1 << _BITS) + 0.5).astype(np.int64)
