"""Pictures of boxes with labels, for reports and TensorBoard."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Color = tuple[int, int, int]

# Ten colours that stay apart on photographs and next to each other.
PALETTE: tuple[Color, ...] = (
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
    font = ImageFont.load_default(size=max(12, round(max(size) / 48)))
    corners = (boxes.detach().cpu().float() * factor).round().int().tolist()
    paints = [UNKNOWN_COLOR if color < 0 else PALETTE[color % len(PALETTE)] for color in colors]
    for box, paint in zip(corners, paints, strict=True):
        pen.rectangle(_outline(box, size), outline=paint, width=line)
    # Labels lie above all lines, and beside each other where there is room.
    taken: list[tuple[int, int, int, int]] = []
    for box, label, paint in zip(corners, labels, paints, strict=True):
        if label:
            tab = _place(box, _tab_size(font, label), size, taken)
            taken.append(tab)
            pen.rectangle((tab[0], tab[1], tab[2] - 1, tab[3] - 1), fill=paint)
            middle = ((tab[0] + tab[2]) / 2, (tab[1] + tab[3]) / 2)
            pen.text(middle, label, fill=_text_color(paint), font=font, anchor="mm")
    return np.asarray(picture)


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
    font = ImageFont.load_default(size=letter)
    title = round(letter * 1.8)
    sheet = Image.new("RGB", (2 * width + MARGIN, height + title), "white")
    pen = ImageDraw.Draw(sheet)
    for left, name, picture in ((0, "truth", truth), (width + MARGIN, "predicted", predicted)):
        sheet.paste(Image.fromarray(picture), (left, title))
        pen.text((left + MARGIN // 2, title / 2), name, fill=(40, 40, 40), font=font, anchor="lm")
    return np.asarray(sheet)


def _outline(box: Sequence[int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Turn a box into the pixels of its border, inside the picture and never inverted."""
    x1, y1 = (min(max(box[axis], 0), size[axis] - 1) for axis in (0, 1))
    x2, y2 = (min(max(box[axis + 2], 1), size[axis]) for axis in (0, 1))
    return x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)


def _tab_size(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, label: str) -> tuple[int, int]:
    """Measure the tab behind a label, width and height; all tabs of a picture are equally high."""
    _, top, _, bottom = font.getbbox(f"{label}Äg")
    return round(font.getlength(label)) + 8, round(bottom - top) + 4


def _place(
    box: Sequence[int],
    tab: tuple[int, int],
    size: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Find room for a tab: above its box, else below, else inside; always inside the picture."""
    width, height = tab
    x = max(0, min(box[0], size[0] - width))
    above, below, inside = box[1] - height, box[3], box[1]
    spots = [y for y in (above, below, inside) if 0 <= y <= size[1] - height]
    spots = spots or [max(0, min(inside, size[1] - height))]

    def is_free(y: int) -> bool:
        return all(
            x >= other[2] or x + width <= other[0] or y >= other[3] or y + height <= other[1]
            for other in taken
        )

    y = next((spot for spot in spots if is_free(spot)), spots[0])
    return x, y, x + width, y + height


def _text_color(paint: Color) -> Color:
    """Choose black or white, whichever contrasts more (luma of ITU-R BT.601)."""
    luma = 0.299 * paint[0] + 0.587 * paint[1] + 0.114 * paint[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
