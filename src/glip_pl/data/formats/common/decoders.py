"""Image files opened by the decoders that are meant, and grey levels of any depth made visible."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from glip_pl.data.formats.common.tar_files import image_file

# Pillow goes by content: a PostScript file called a.jpg would start a program, so others are out.
# JPEG includes the MPO of phones.
_DECODERS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF")
MOST_PIXELS = 100_000_000
# How many bits of a wider number cameras and scanners use.
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_WIDE_MODES = ("I", "F")


def open_image(source: str | Path | BytesIO) -> Image.Image:
    """Open an image file, whose pixels are not decoded yet.

    Args:
        source: The file, which may lie in a tar file, or its bytes.

    Raises:
        OSError: It is missing, or no image of a kind that is meant; decoders may raise others.
    """
    opened = image_file(source) if isinstance(source, Path) else source
    return Image.open(opened, formats=_DECODERS)


def as_rgb(image: Image.Image) -> Image.Image:
    """Turn an image of any mode into RGB; transparency is dropped."""
    if image.mode.startswith(_WIDE_MODES):
        image = Image.fromarray(eight_bits(np.asarray(image)))
    return image.convert("RGB")


def eight_bits(grey: np.ndarray) -> np.ndarray:
    """Scale grey levels of 16 or 32 bits, or of decimal numbers, to 0 to 255.

    Whole numbers fill the fewest of 8, 10, 12, 14, 16, 24 and 32 bits that hold the brightest
    pixel, so that a camera of 12 bits is not four bits too dark. Decimal numbers count from 0 to 1
    where none is larger, else like whole ones. Where some are below 0, the darkest is black and the
    brightest white.

    Args:
        grey: [H, W], whole or decimal numbers; those that are not finite become black.

    Returns:
        uint8 [H, W].
    """
    levels = np.nan_to_num(grey.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(levels.min(initial=0.0)), float(levels.max(initial=0.0))
    if low < 0:
        scale = 255 / (high - low)
    elif np.issubdtype(grey.dtype, np.floating) and high <= 1:
        scale = 255.0
    else:
        bits = next((bits for bits in _DEPTHS if high < 2**bits), _DEPTHS[-1])
        scale = 256 / 2.0**bits
    return np.clip((levels - min(low, 0.0)) * scale, 0, 255).astype(np.uint8)
