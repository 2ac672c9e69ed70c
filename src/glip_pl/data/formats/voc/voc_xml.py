"""The XML of Pascal VOC: one picture's size and objects."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.checks import NO_LABEL, note
from glip_pl.data.formats.common.records import Record
from glip_pl.data.formats.common.text_files import NOT_UTF8, decode, is_readable
from glip_pl.data.formats.common.values import is_true

NO_XML = "picture without a readable XML"
SEVERAL = "object with several names or boxes, of which one may be meant"
_SIZE = ("height", "width")
# The continuous box begins one pixel before the number of its first pixel.
_SIDES = {"xmin": 1, "ymin": 1, "xmax": 0, "ymax": 0}


class VocObject(NamedTuple):
    """A name, x1, y1, x2, y2 in pixels, None where there is no number, and whether difficult."""

    name: str
    corners: tuple[float | None, ...]
    difficult: bool


class Picture(NamedTuple):
    """What an XML holds; the size is (0, 0) where it does not say."""

    picture_id: str
    file_name: str
    size: tuple[int, int]
    objects: tuple[VocObject, ...]
    parts: int


def read_pictures(folder: Path, ids: Iterable[str], problems: Problems) -> Iterator[Picture]:
    """Read the XML of each picture in a folder; those that have none are left out and noted."""
    for picture_id in ids:
        try:
            root = read_xml(folder / f"{picture_id}.xml")
            height, width = (int(float(_text(root, f"size/{x}") or 0)) for x in _SIZE)
            names = [_text(element, "name") for element in root.iterfind("object")]
            if not all(is_readable(name) for name in names):
                raise ValueError(NOT_UTF8)
        except (OSError, ValueError, OverflowError) as error:
            note(problems, NO_XML, f"{picture_id}: {error}")
            continue
        objects = []
        for element in root.iterfind("object"):
            name = _text(element, "name")
            corners = tuple(_corner(element, side, first) for side, first in _SIDES.items())
            difficult = is_true(_text(element, "difficult"))
            if any(len(element.findall(tag)) > 1 for tag in ("name", "bndbox")):
                note(problems, SEVERAL, f"{picture_id}: {name!r} at {list(corners)}")
            elif name:
                objects.append(VocObject(name, corners, difficult))
            else:
                note(problems, NO_LABEL, f"{picture_id}: {list(corners)}")
        parts = len(root.findall("object/part"))
        file_name = _text(root, "filename")
        size = (height, width)
        yield Picture(picture_id, file_name, size, tuple(objects), parts)


def read_xml(file: Path) -> Element:
    """Read an XML file in the encoding that it declares; bytes that are wrong become U+FFFD.

    Names of tags lose the namespace that some tools write.

    Raises:
        ValueError: It is no XML.
        OSError: It cannot be read.
    """
    try:
        root = ElementTree.fromstring(decode(file.read_bytes()).lstrip())
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _corner(element: Element, side: str, first: int) -> float | None:
    """Read a side of a box; decimal arithmetic gives back exactly what was written."""
    try:
        return float(Decimal(_text(element, f"bndbox/{side}")) - first)
    except InvalidOperation:
        return None


def picture_tree(record: Record, names: Mapping[int, str]) -> "ElementTree.ElementTree[Element]":
    """Make the XML of a picture, every decimal of its boxes kept."""
    root = Element("annotation")
    SubElement(root, "filename").text = PurePosixPath(record.file_name).name
    size = SubElement(root, "size")
    for side, pixels in zip((*_SIZE, "depth"), (*record.size, 3), strict=True):
        SubElement(size, side).text = str(pixels)
    for annotation in record.annotations:
        assert annotation.category is not None
        element = SubElement(root, "object")
        SubElement(element, "name").text = names[annotation.category]
        SubElement(element, "difficult").text = str(int(annotation.crowd))
        box = SubElement(element, "bndbox")
        for (side, first), value in zip(_SIDES.items(), annotation.box, strict=True):
            written = (Decimal(repr(float(value))) + first).normalize()
            SubElement(box, side).text = f"{written:f}"
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)
