"""The XML "CVAT for images 1.1": images with boxes and other shapes, in pixels.

See https://docs.cvat.ai/docs/dataset_management/formats/format-cvat.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import cos, radians, sin
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

# The shapes that cover something, and so have a box around them.
SHAPES = ("box", "polygon", "mask", "ellipse")
TAIL = "</annotations>\n"


def head(names: Iterable[str]) -> str:
    """Write the beginning of a file, with the names of all labels."""
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in names)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><labels>{labels}</labels></task></meta>\n"
    )


def image_text(
    number: int,
    name: str,
    size: tuple[int, int],
    boxes: Iterable[tuple[str, Sequence[float]]],
    *,
    source: str,
    subset: str | None = None,
) -> str:
    """Write an image.

    Args:
        number: Its id.
        name: Its file name.
        size: (height, width) in pixels.
        boxes: Label and xyxy pixels of each box.
        source: Who drew the boxes: "manual" or "auto".
        subset: Its split.
    """
    height, width = size
    split = "" if subset is None else f" subset={quoteattr(subset)}"
    sides = f'width="{width}" height="{height}"'
    lines = [f'<image id="{number}" name={quoteattr(name)}{split} {sides}>']
    for label, (x0, y0, x1, y1) in boxes:
        place = f'xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"'
        shown = f'label={quoteattr(label)} source="{source}" occluded="0"'
        lines.append(f'<box {shown} {place} z_order="0"/>')
    return "\n".join([*lines, "</image>", ""])


def shape_corners(shape: Element) -> tuple[Sequence[float], str | None]:
    """Read the box around a shape, in xyxy pixels.

    Returns:
        The corners, nothing where they are no numbers, and the name of what the shape has beyond
        its box: a "segmentation", or a "rotation".
    """
    value: Mapping[str, str] = shape.attrib
    try:
        if shape.tag == "polygon":
            points = [point.split(",") for point in value["points"].split(";")]
            xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
            return (min(xs), min(ys), max(xs), max(ys)), "segmentation"
        if shape.tag == "mask":
            left, top = float(value["left"]), float(value["top"])
            right, bottom = left + float(value["width"]), top + float(value["height"])
            return (left, top, right, bottom), "segmentation"
        turned = "rotation" if float(value.get("rotation", 0)) else None
        if shape.tag == "ellipse":
            x, y, rx, ry = (float(value[key]) for key in ("cx", "cy", "rx", "ry"))
            x0, y0, x1, y1 = x - rx, y - ry, x + rx, y + ry
        else:
            x0, y0, x1, y1 = (float(value[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return _around(x0, y0, x1, y1, float(value.get("rotation", 0))), turned
    except (KeyError, ValueError, OverflowError):
        return (), None


def _around(
    x0: float, y0: float, x1: float, y1: float, degrees: float
) -> tuple[float, float, float, float]:
    """Compute the upright box around one that is turned around its middle."""
    if not degrees:
        return x0, y0, x1, y1
    c, s = abs(cos(radians(degrees))), abs(sin(radians(degrees)))
    x, y, w, h = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    half_w, half_h = (w * c + h * s) / 2, (w * s + h * c) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h
