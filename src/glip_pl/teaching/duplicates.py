"""Images that are there twice: the same bytes, or nearly the same picture."""

import hashlib

import numpy as np
from PIL import Image

_SIDE = 8
_NEAR = 3  # Of 64 bits; a resize or another JPEG quality changes fewer.
_PARTS = 4  # More than _NEAR, so that near hashes share a part.


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
        self._contents: set[bytes] = set()
        self._near: dict[tuple[int, int], list[int]] = {}

    def is_new(self, content: bytes, pixels: np.ndarray) -> bool:
        """Whether nothing like it came before; it is remembered.

        Args:
            content: The file.
            pixels: The same decoded, uint8 [H, W, 3].
        """
        digest = hashlib.sha256(content).digest()
        own = picture_hash(pixels)
        width = _SIDE * _SIDE // _PARTS
        keys = [(part, own >> (part * width) & (2**width - 1)) for part in range(_PARTS)]
        known = (other for key in keys for other in self._near.get(key, ()))
        if digest in self._contents or any((own ^ other).bit_count() <= _NEAR for other in known):
            return False
        self._contents.add(digest)
        for key in keys:
            self._near.setdefault(key, []).append(own)
        return True
