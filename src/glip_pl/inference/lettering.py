"""Text in pictures, in the scripts that OpenCV's font draws.

Its font has Latin with all accents, Cyrillic, Greek, Chinese, Japanese, Korean, Hebrew and Arabic;
any other letter is drawn as a question mark.
"""

import cv2
import numpy as np

Color = tuple[int, int, int]

_SAMPLE = "Äg|"  # As high as any line of text.
_ELLIPSIS = "…"


class Lettering:
    """One font in one size.

    Args:
        size: Height of the letters in pixels.
    """

    def __init__(self, size: int) -> None:
        self._font, self._size = cv2.FontFace("sans"), size
        _, self._top, _, self.height = self._measure(_SAMPLE)

    def width(self, text: str) -> int:
        """Measure a line in pixels."""
        return self._measure(text)[2]

    def shortened(self, text: str, width: int) -> str:
        """Cut a line off where it is wider than so many pixels."""
        if self.width(text) <= width:
            return text
        while text and self.width(text + _ELLIPSIS) > width:
            text = text[:-1]
        return text + _ELLIPSIS

    def write(self, picture: np.ndarray, text: str, left: int, top: int, color: Color) -> None:
        """Write a line into a picture, uint8 [H, W, 3], in place; `top` is that of its height."""
        cv2.putText(picture, text, (left, top - self._top), color, self._font, self._size)

    def _measure(self, text: str) -> tuple[int, int, int, int]:
        # The picture's size only matters where text wraps, which no line here does.
        left, top, width, height = cv2.getTextSize(
            (1 << 15, 1), text, (0, 0), self._font, self._size
        )
        return left, top, width, height
