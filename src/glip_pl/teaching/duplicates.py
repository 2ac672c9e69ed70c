"""Images that are there twice: the same bytes, or nearly the same picture."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from glip_pl.data.formats.common.tar_files import read_bytes
from glip_pl.data.images import read_image

_SIDE = 8
_NEAR = 3  # Of 64 bits; a resize or another JPEG quality changes fewer.
_PARTS = 4  # More than _NEAR, so that near hashes share a part.


@dataclass(frozen=True)
class Fingerprint:
    """What tells an image from others.

    Attributes:
        content: SHA-256 of the file.
        picture: Hash of what it shows, 64 bits; see `picture_hash`.
    """

    content: str
    picture: int

    @classmethod
    def of(cls, path: str) -> "Fingerprint":
        """Compute that of a file, which may lie in a tar file.

        Raises:
            ValueError: It is no image.
        """
        content = read_bytes(Path(path))
        # As few pixels as the decoder can give, for which JPEG takes a tenth of the time.
        pixels = read_image(Path(path), content=content, short_side=4 * _SIDE)
        return cls(hashlib.sha256(content).hexdigest(), picture_hash(pixels))


def picture_hash(pixels: np.ndarray) -> int:
    """Hash a picture by where it grows lighter to the right, 64 bits; near pictures have near ones.

    Args:
        pixels: uint8 [H, W, 3].
    """
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE + 1, _SIDE))
    values = np.asarray(grey, dtype=int)
    rises = (values[:, 1:] > values[:, :-1]).flatten()
    return int("".join("1" if bit else "0" for bit in rises), 2)


class Seen:
    """All images so far; the first of each kind is kept."""

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}
        self._near: dict[tuple[int, int], list[int]] = {}

    def is_new(self, path: str, own: Fingerprint) -> bool:
        """Whether no other file like it came before; it is remembered.

        Args:
            path: The file, which may come again with another caption.
            own: Its fingerprint.
        """
        width = _SIDE * _SIDE // _PARTS
        keys = [(part, own.picture >> (part * width) & (2**width - 1)) for part in range(_PARTS)]
        if own.content in self._contents:
            return self._contents[own.content] == path
        known = (other for key in keys for other in self._near.get(key, ()))
        if any((own.picture ^ other).bit_count() <= _NEAR for other in known):
            return False
        self._contents[own.content] = path
        for key in keys:
            self._near.setdefault(key, []).append(own.picture)
        return True
