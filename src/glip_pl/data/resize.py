"""Resize pixels as released weights expect it."""

import numpy as np
from PIL import Image


def resize_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image, uint8 [H, W, 3], to (height, width), antialiased as Pillow does it."""
    if pixels.shape[:2] == size:
        return pixels
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(resized)
