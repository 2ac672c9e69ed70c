"""Image files: from a path to RGB pixels."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from glip_pl.data.formats.tar_files import image_file


def read_image(path: Path) -> np.ndarray:
    """Read an image file the way a viewer would show it.

    The camera's orientation is applied, and grey, 16 bit, palette and transparent images become
    RGB; transparency is dropped.

    Returns:
        The pixels, uint8 [H, W, 3], RGB.

    Raises:
        ValueError: The file is missing, broken or no image.
    """
    try:
        with Image.open(image_file(path)) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I;16"):  # Pillow would cut 16 bit values off at 255.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.array(image.convert("RGB"))
    except Exception as error:  # Decoders raise nearly anything when the bytes are wrong.
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(
            f"cannot read the image {str(path)!r}: {reason}; replace the file or remove its record "
            "from the annotations"
        ) from error
