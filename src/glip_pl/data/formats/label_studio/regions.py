"""Regions of Label Studio: shapes in percent of their image, with labels.

See https://labelstud.io/guide/task_format. A region says the size of its image, ``original_width``
and ``original_height``, and its labels under a key that is named after its shape.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from glip_pl.data.annotations import Box
from glip_pl.data.formats.common.mask_boxes import brush_box
from glip_pl.data.formats.common.values import WRONG, texts

# Shapes that have a box; what of them is not kept beside it.
_KINDS = (
    "rectanglelabels",
    "polygonlabels",
    "ellipselabels",
    "brushlabels",
    "labels",
    "hypertextlabels",
)
_DIGITS = 12  # Of percents written.
_PIXEL_DIGITS = 6  # Of pixels read: 100 * 1 / 60 percent of 60 pixels are 1 again.


def write_region(box: Box, size: tuple[int, int], label: str) -> dict[str, Any]:
    """Write a box as a region.

    Args:
        box: xyxy pixels.
        size: (height, width) of its image in pixels.
        label: What it shows.
    """
    height, width = size
    x0, y0, x1, y1 = box
    sides = {
        "x": 100 * x0 / width,
        "y": 100 * y0 / height,
        "width": 100 * (x1 - x0) / width,
        "height": 100 * (y1 - y0) / height,
    }
    return {
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "value": {
            **{side: round(value, _DIGITS) for side, value in sides.items()},
            "rotation": 0,
            "rectanglelabels": [label],
        },
    }


def region_size(regions: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Read the (height, width) of an image from its regions; None where none says it."""
    for region in regions:
        try:
            height, width = int(region["original_height"]), int(region["original_width"])
        except WRONG:
            continue
        if height > 0 and width > 0:
            return height, width
    return None


def region_labels(region: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Read what a region shows; None where it is no shape but a choice or a text."""
    value = _value(region)
    kind = next((kind for kind in _KINDS if kind in value), None)
    return None if kind is None else texts(value[kind])


def region_corners(
    region: Mapping[str, Any], size: tuple[int, int]
) -> tuple[Sequence[float], str | None]:
    """Read the box around a region, in xyxy pixels.

    Returns:
        The corners, nothing where they are no numbers, and the name of what the shape has beyond
        its box: a "segmentation", or a "rotation".
    """
    value = _value(region)
    if "rle" in value:
        return brush_box(value["rle"], region_size([region]) or size), "segmentation"
    try:
        points, beyond = _outline(value)
        turned = math.radians(float(value.get("rotation") or 0))
    except WRONG:
        return (), None
    height, width = size
    pixels = [(x * width / 100, y * height / 100) for x, y in points]
    if turned and beyond is None:
        pixels, beyond = _turned(pixels, turned, "radiusX" in value), "rotation"
    xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
    corners = (min(xs), min(ys), max(xs), max(ys))
    return tuple(round(value, _PIXEL_DIGITS) for value in corners), beyond


def _value(region: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the shape; in the short form of JSON-MIN, region and shape are one."""
    value = region.get("value", region)
    return value if isinstance(value, dict) else {}


def _outline(value: Mapping[str, Any]) -> tuple[list[tuple[float, float]], str | None]:
    """Read the points of a shape in percent, upright; those of `WRONG` where it has none."""
    if "points" in value:
        points = [(float(x), float(y)) for x, y in value["points"]]
        return points or [(math.nan, math.nan)], "segmentation"
    x, y = float(value["x"]), float(value["y"])
    if "radiusX" in value:
        w, h = float(value["radiusX"]), float(value["radiusY"])
        return [(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], None
    w, h = float(value["width"]), float(value["height"])
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)], None


def _turned(
    points: Sequence[tuple[float, float]], angle: float, around_middle: bool
) -> list[tuple[float, float]]:
    """Turn points clockwise, around the first as Label Studio does, or an ellipse's middle."""
    a, b = points[0]
    if around_middle:
        a, b = (a + points[2][0]) / 2, (b + points[2][1]) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    return [
        (a + (x - a) * cos - (y - b) * sin, b + (x - a) * sin + (y - b) * cos) for x, y in points
    ]
