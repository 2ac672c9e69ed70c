"""Images of any kind as RGB pixels: paths, URLs, Pillow's images, arrays and tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from glip_pl.data.images import read_image

T = TypeVar("T")
ImageLike = str | Path | Image.Image | np.ndarray | Tensor

_MOST_PIXELS = 100_000_000
_MOST_BYTES = 50_000_000  # Of an image behind a URL.
_TIMEOUT_S = 20


def as_pixels(image: ImageLike, *, urls: bool = False) -> np.ndarray:
    """Return an image as uint8 [H, W, 3], RGB.

    Args:
        image: A path; an http(s) URL; a Pillow image; an array [H, W], [H, W, 3] or [H, W, 4]; or a
            tensor [3, H, W] or [1, H, W]. Arrays and tensors hold uint8, or floats from 0 to 1.
        urls: Whether URLs may be fetched.

    Raises:
        ValueError: It is none of these, cannot be read, or has more than 100 megapixels.
    """
    if isinstance(image, str) and urlsplit(image).scheme in ("http", "https"):
        return _fetched(image, urls)
    if isinstance(image, str | Path):
        return _read(Path(image))
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    if isinstance(image, np.ndarray):
        return _of_array(image)
    raise ValueError(
        f"an image of type {type(image).__name__} cannot be read; give a path, a Pillow image, an "
        "array [H, W, 3] or a tensor [3, H, W]"
    )


def source_of(image: ImageLike) -> str | None:
    """Return the path or URL of an image, where it has one."""
    return str(image) if isinstance(image, str | Path) else None


def listed(images: ImageLike | Sequence[T]) -> list[ImageLike | T]:
    """Return one image or many as a list; a tensor [B, 3, H, W] is many.

    Raises:
        ValueError: There is none.
    """
    if isinstance(images, Tensor | np.ndarray) and images.ndim == 4:
        images = list(images)
    if isinstance(images, str | Path | Image.Image | np.ndarray | Tensor):
        return [images]
    if not isinstance(images, Sequence) or not images:
        raise ValueError(
            "there is no image to look at: give one, or a list of at least one; a folder or a glob "
            "is read by `glip predict` and `glip label`"
        )
    return list(images)


def _read(path: Path) -> np.ndarray:
    # Opening a pipe or a device would wait for ever.
    try:
        special = path.exists() and not path.is_file()
    except OSError as error:  # A name that no file can have.
        name = f"{str(path)[:40]}..."
        raise ValueError(f"cannot read the image {name!r}: {error.strerror}") from error
    if special:
        kind = "a folder" if path.is_dir() else "no regular file"
        raise ValueError(f"cannot read the image {str(path)!r}: it is {kind}; give an image file")
    return read_image(path)


def _of_pillow(image: Image.Image) -> np.ndarray:
    if image.width * image.height > _MOST_PIXELS:
        raise ValueError(_too_many(image.height, image.width))
    if min(image.size) < 1:
        raise ValueError("a Pillow image without a pixel shows nothing; leave it out")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow would cut 16 bit values off at 255.
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.array(upright.convert("RGB"))


def _of_tensor(image: Tensor) -> np.ndarray:
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            f"a tensor of shape {list(image.shape)} is no image; give [3, H, W] or [1, H, W], or a "
            "list of them; for [H, W, 3] give image.permute(2, 0, 1)"
        )
    if image.is_meta or image.is_quantized or image.layout != torch.strided:
        raise ValueError(
            "a tensor without data, quantized or sparse is no image; give image.dequantize() or "
            "image.to_dense()"
        )
    array = image.detach().cpu()
    # NumPy knows no floats of other than two, four and eight bytes.
    array = array.float() if array.is_floating_point() else array
    return _of_array(array.permute(1, 2, 0).numpy())


def _of_array(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"an array of shape {list(image.shape)} is no image; give [H, W, 3], RGB, or [H, W]; "
            "for [3, H, W] give image.transpose(1, 2, 0)"
        )
    if min(image.shape) < 1:
        raise ValueError(f"an image of shape {list(image.shape)} has no pixel; leave it out")
    if image.shape[0] * image.shape[1] > _MOST_PIXELS:
        raise ValueError(_too_many(*image.shape[:2]))
    image = image[..., :3]  # Transparency is dropped, as in files.
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
            raise ValueError(
                "an image of floats must hold numbers from 0 to 1, and this one has others; divide "
                "it by its largest value, or give uint8"
            )
        image = (image * 255).round().astype(np.uint8)
    if image.dtype != np.uint8:
        raise ValueError(
            f"an image of {image.dtype} has no known range; give uint8, or floats from 0 to 1"
        )
    if image.shape[2] == 1:
        return image.repeat(3, axis=2)
    # PyTorch warns of arrays that only can be read, as those of Pillow's images.
    return np.require(image, requirements=("C", "W"))


def _fetched(url: str, allowed: bool) -> np.ndarray:
    if not allowed:
        raise ValueError(f"{url!r} is a URL, and nothing is fetched unasked; pass urls=True")
    try:
        with urlopen(Request(url), timeout=_TIMEOUT_S) as response:
            content: bytes = response.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{url!r} cannot be fetched ({error}); check address and network") from (
            error
        )
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{url!r} has more than {_MOST_BYTES // 10**6} MB; give the image itself")
    return read_image(Path(url), content=content)


def _too_many(height: int, width: int) -> str:
    return f"an image of {width} x {height} pixels is too large; the most is 100 megapixels"
