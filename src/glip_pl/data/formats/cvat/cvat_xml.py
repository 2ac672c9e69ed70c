"""The XML "CVAT for images 1.1": images with boxes and other shapes, in pixels.

See https://docs.cvat.ai/docs/dataset_management/formats/format-cvat.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path
from typing import NamedTuple, cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from glip_pl.data.formats.common.spool import Spool
from glip_pl.data.formats.common.text_files import decode_parts

# The shapes that cover something, and so have a box around them.
SHAPES = ("box", "polygon", "mask", "ellipse")
# Where the names of labels stand: below meta, in a label.
_LABEL = ["meta", "label"]
TAIL = "</annotations>\n"


class Tag(NamedTuple):
    """A tag of the XML, its values, and the tags in it."""

    name: str
    values: dict[str, str]
    inside: tuple["Tag", ...] = ()


@dataclass(frozen=True)
class Document:
    """The labels that a file lists, and its images."""

    labels: list[str]
    images: Spool[Tag]


def read_images(file: Path) -> Document:
    """Read a file of any size; images with their shapes go to another file.

    Raises:
        ValueError: It is no XML, or of a video.
    """
    labels, images, has_tracks = list[str](), Spool[Tag](), False
    parser: ElementTree.XMLPullParser[Element] = ElementTree.XMLPullParser(("start", "end"))
    above: list[Element] = []
    try:
        for place, part in enumerate(decode_parts(file)):
            parser.feed(part if place else part.lstrip())
            for event, element in cast(Iterable[tuple[str, Element]], parser.read_events()):
                if event == "start":
                    above.append(element)
                    has_tracks |= element.tag == "track"
                    continue
                above.pop()
                if element.tag == "image" and above:
                    inside = tuple(Tag(shape.tag, shape.attrib) for shape in element)
                    images.append(Tag(element.tag, element.attrib, inside))
                    above[-1].remove(element)
                elif element.tag == "name" and [a.tag for a in above[1:2] + above[-1:]] == _LABEL:
                    labels.append((element.text or "").strip())
        parser.close()
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(file)!r}: {error}; export it again"
        ) from error
    if not len(images) and has_tracks:
        raise ValueError(
            f"{str(file)!r} is of a video, whose frames are no files; export it from CVAT as "
            '"CVAT for images 1.1", or as COCO'
        )
    return Document(labels, images)


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


def shape_corners(shape: Tag) -> tuple[Sequence[float], str | None]:
    """Read the box around a shape, in xyxy pixels.

    Returns:
        The corners, nothing where they are no numbers, and the name of what the shape has beyond
        its box: a "segmentation", or a "rotation".
    """
    value = shape.values
    try:
        if shape.name == "polygon":
            points = [point.split(",") for point in value["points"].split(";")]
            xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
            return (min(xs), min(ys), max(xs), max(ys)), "segmentation"
        if shape.name == "mask":
            left, top = float(value["left"]), float(value["top"])
            right, bottom = left + float(value["width"]), top + float(value["height"])
            return (left, top, right, bottom), "segmentation"
        turned = "rotation" if float(value.get("rotation", 0)) else None
        if shape.name == "ellipse":
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
