"""Image files: from a path to RGB pixels."""

from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np
from PIL import ImageOps

from glip_pl.data.formats.common.decoders import MOST_PIXELS, as_rgb, open_image
from glip_pl.system.faults import is_of_the_machine


def read_image(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    short_side: int | None = None,
    content: bytes | None = None,
) -> np.ndarray:
    """Read an image file the way a viewer would show it.

    The camera's orientation is applied, and grey, 16 bit, palette and transparent images become
    RGB (`as_rgb`). Nothing is decoded of an image of more than 100 megapixels, or by a decoder of
    anything but photographs.

    Args:
        path: The file; it may lie in a tar file.
        size: The (height, width) that it must have, where that is known.
        short_side: Where the shorter side need not keep more pixels than this, a JPEG file is
            decoded at a half, a quarter or an eighth of its size, which is several times faster.
        content: The bytes of the file, where they are known already.

    Returns:
        The pixels, uint8 [H, W, 3], RGB.

    Raises:
        ValueError: The file is missing, broken, too large, no image, or of another size.
        OSError: No more files can be opened, whatever the file.
    """
    try:
        with open_image(path if content is None else BytesIO(content)) as file:
            width, height = file.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"its header says {width} x {height} pixels, too many")
            if short_side is not None:
                scale = min(short_side / min(file.size), 1)
                file.draft(None, (ceil(width * scale), ceil(height * scale)))
            image = ImageOps.exif_transpose(file)
            if image.size != file.size:  # The camera was held upright.
                width, height = height, width
            pixels = np.array(as_rgb(image))
    except Exception as error:  # Decoders raise nearly anything when the bytes are wrong.
        if is_of_the_machine(error):
            raise
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ValueError(
            f"cannot read the image {str(path)!r}: {reason}; replace the file or leave it out"
        ) from error
    if size is not None and (height, width) != size:
        raise ValueError(
            f"the image {str(path)!r} has (height, width) {(height, width)}, but its record says "
            f"{size}; correct the record or replace the file"
        )
    return pixels
