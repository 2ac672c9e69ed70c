"""Pictures of boxes with labels, for reports and TensorBoard."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from glip_pl.inference.lettering import Color, Lettering

# Ten colours that stay apart on photographs and next to each other; those that follow go round the
# hues by the golden ratio, alternately dark and bright, so that neighbours differ.
_FIRST: tuple[Color, ...] = (
    (230, 57, 70),
    (29, 120, 200),
    (42, 157, 87),
    (244, 162, 30),
    (131, 76, 190),
    (0, 150, 163),
    (214, 51, 132),
    (140, 98, 57),
    (120, 160, 20),
    (60, 72, 100),
)


def _further(k: int) -> Color:
    red, green, blue = colorsys.hls_to_rgb(k * 0.618034 % 1, (0.33, 0.74)[k % 2], (0.9, 0.6)[k % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


PALETTE: tuple[Color, ...] = (*_FIRST, *(_further(k) for k in range(30)))
UNKNOWN_COLOR: Color = (128, 128, 128)
# Labels on smaller pictures would hide what they name, so the picture is enlarged.
SMALLEST_SIDE = 384
MARGIN = 8


def draw(
    image: np.ndarray,
    boxes: Tensor,
    labels: Sequence[str],
    *,
    colors: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw boxes with labels on a copy of an image; a small image is enlarged by a whole factor.

    Args:
        image: uint8 [H, W, 3], RGB.
        boxes: [D, 4], xyxy pixels of `image`.
        labels: The text of each box; an empty one draws the box alone.
        colors: Per box, which colour of the palette it takes, counted round; -1 is grey. By default
            boxes of the same label share a colour.

    Returns:
        uint8 [sH, sW, 3] with the factor s, which is 1 from 384 pixels on.
    """
    if colors is None:
        names = list(dict.fromkeys(labels))
        colors = [names.index(label) for label in labels]
    height, width = image.shape[:2]
    factor = -(-SMALLEST_SIDE // max(height, width))
    size = (width * factor, height * factor)
    picture = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    line = max(2, round(max(size) / 400))
    corners = (boxes.detach().cpu().float() * factor).round().int().tolist()
    paints = [UNKNOWN_COLOR if color < 0 else PALETTE[color % len(PALETTE)] for color in colors]
    for box, paint in zip(corners, paints, strict=True):
        pen.rectangle(_outline(box, size), outline=paint, width=line)
    drawn = np.array(picture)
    _write_labels(drawn, corners, labels, paints)
    return drawn


def _write_labels(
    drawn: np.ndarray,
    corners: Sequence[Sequence[int]],
    labels: Sequence[str],
    paints: Sequence[Color],
) -> None:
    """Write labels above all lines; one that finds no room beside the others is left out."""
    size = (drawn.shape[1], drawn.shape[0])
    font = Lettering(max(12, round(max(size) / 48)))
    taken: list[_Tab] = []
    for box, label, paint in zip(corners, labels, paints, strict=True):
        text = font.shortened(label, size[0] - 8)
        tab = _place(box, (font.width(text) + 8, font.height + 4), size, taken) if text else None
        if tab is not None:
            taken.append(tab)
            drawn[tab[1] : tab[3], tab[0] : tab[2]] = paint
            font.write(drawn, text, tab[0] + 4, tab[1] + 2, _text_color(paint))


def side_by_side(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Join two pictures of the same size, with titles above them.

    Args:
        truth: uint8 [H, W, 3], shown on the left.
        predicted: uint8 [H, W, 3], shown on the right.

    Returns:
        uint8 [H', W', 3].
    """
    height, width = truth.shape[:2]
    letter = max(12, round(max(height, width) / 36))
    font = Lettering(letter)
    title = round(letter * 1.8)
    sheet = np.full((height + title, 2 * width + MARGIN, 3), 255, dtype=np.uint8)
    for left, name, picture in ((0, "truth", truth), (width + MARGIN, "predicted", predicted)):
        sheet[title:, left : left + width] = picture
        font.write(sheet, name, left + MARGIN // 2, (title - font.height) // 2, (40, 40, 40))
    return sheet


def _outline(box: Sequence[int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Turn a box into the pixels of its border, inside the picture and never inverted."""
    x1, y1 = (min(max(box[axis], 0), size[axis] - 1) for axis in (0, 1))
    x2, y2 = (min(max(box[axis + 2], 1), size[axis]) for axis in (0, 1))
    return x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)


_Tab = tuple[int, int, int, int]


def _place(
    box: Sequence[int], tab: tuple[int, int], size: tuple[int, int], taken: Sequence[_Tab]
) -> _Tab | None:
    """Find free room for a tab above its box, else below, inside or beside it, if there is any."""
    width, height = tab
    aligned = max(0, min(box[0], size[0] - width))
    low, high = max(0, box[1]), min(box[3], size[1]) - height
    spots = [(aligned, y) for y in (box[1] - height, box[3], low, high)]
    spots += [(x, low) for x in (box[2], box[0] - width, box[2] - width)]
    for x, y in spots:
        inside = 0 <= x <= size[0] - width and 0 <= y <= size[1] - height
        if inside and all(
            x >= other[2] or x + width <= other[0] or y >= other[3] or y + height <= other[1]
            for other in taken
        ):
            return x, y, x + width, y + height
    return None


def _text_color(paint: Color) -> Color:
    """Choose black or white, whichever contrasts more (relative luminance of WCAG 2)."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in paint]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)
