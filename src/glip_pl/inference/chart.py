"""Line charts as pictures, without a plotting library."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glip_pl.inference.visualize import PALETTE

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _MARGIN = 720, 480, 60
_GREY, _BLACK = (200, 200, 200), (40, 40, 40)


def line_chart(lines: Mapping[str, Points], *, title: str, x: str, y: str) -> np.ndarray:
    """Draw lines over the unit square.

    Args:
        lines: By name, points with both coordinates in [0, 1].
        title: What stands above.
        x: Name of the axis to the right.
        y: Name of the axis upwards.

    Returns:
        uint8 [480, 720, 3].
    """
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for tick in range(11):
        at = tick / 10
        pen.line([_place(at, 0), _place(at, 1)], fill=_GREY)
        pen.line([_place(0, at), _place(1, at)], fill=_GREY)
        if tick % 2 == 0:
            pen.text(_moved(_place(at, 0), 0, 6), f"{at:.1f}", fill=_BLACK, font=font, anchor="ma")
            pen.text(_moved(_place(0, at), -6, 0), f"{at:.1f}", fill=_BLACK, font=font, anchor="rm")
    for number, (name, points) in enumerate(lines.items()):
        color = PALETTE[number % len(PALETTE)]
        places = [_place(*point) for point in points]
        if len(places) > 1:
            pen.line(places, fill=color, width=3)
        for left, top in places:
            pen.ellipse([left - 4, top - 4, left + 4, top + 4], fill=color)
        pen.text((_WIDTH - _MARGIN - 6, _MARGIN + 18 * number), name, color, font, anchor="ra")
    pen.text((_WIDTH / 2, 12), title, fill=_BLACK, font=font, anchor="ma")
    pen.text((_WIDTH / 2, _HEIGHT - 12), x, fill=_BLACK, font=font, anchor="ms")
    pen.text((8, 34), y, fill=_BLACK, font=font)
    return np.asarray(picture)


def _place(x: float, y: float) -> tuple[float, float]:
    """Pixels of a point of the unit square."""
    width, height = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    return _MARGIN + x * width, _HEIGHT - _MARGIN - y * height


def _moved(place: tuple[float, float], right: float, down: float) -> tuple[float, float]:
    return place[0] + right, place[1] + down
