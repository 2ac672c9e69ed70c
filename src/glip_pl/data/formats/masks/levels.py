"""What the pixels of a mask mean: numbers or colours of categories, and boxes of their parts."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
from PIL import Image

from glip_pl.data.annotations import Box
from glip_pl.data.formats.common.decoders import MOST_PIXELS, open_image
from glip_pl.data.formats.common.mask_boxes import Array, mask_box
from glip_pl.data.formats.common.text_files import read_lines
from glip_pl.system.faults import is_of_the_machine

_LABEL_MAP = "labelmap.txt"
_LISTS = ("classes.txt", "names.txt", "labels.txt", "obj.names", "class_names.txt")
_TABLE = "_classes.csv"
_BACKGROUND = ("background", "_background_", "__background__", "bg", "unlabeled", "unlabelled")
_BORDER = 255
_VOC_BORDER = 224 << 16 | 224 << 8 | 192


class Parts(NamedTuple):
    """The (height, width) of a mask, name and box of each of its parts, and levels without one."""

    size: tuple[int, int]
    boxes: list[tuple[str, Box]]
    unnamed: list[str]


@dataclass(frozen=True)
class Names:
    """The names of what masks show.

    Attributes:
        by_level: The name of each number, or of each colour 0xRRGGBB; "" for background.
        are_colours: Which of the two.
    """

    by_level: dict[int, str]
    are_colours: bool

    @property
    def words(self) -> list[str]:
        """The names, background aside, in the order of their numbers."""
        return list(dict.fromkeys(name for name in self.by_level.values() if name))

    @classmethod
    def near(cls, folders: Sequence[Path]) -> Self:
        """Read the names from the first file of names in some folders.

        Raises:
            ValueError: There is none.
        """
        for folder in folders:
            if (folder / _LABEL_MAP).is_file():
                return cls(_without_background(_label_map(folder / _LABEL_MAP)), True)
            if (folder / _TABLE).is_file():
                return cls(_without_background(_table(folder / _TABLE)), False)
            for name in _LISTS:
                if (folder / name).is_file():
                    words = read_lines(folder / name)
                    first = 0 if words and words[0].lower() in _BACKGROUND else 1
                    return cls(_without_background(dict(enumerate(words, start=first))), False)
        raise ValueError(
            f"{str(folders[0])!r} has masks, and no names of what they show; write classes.txt "
            "there, one name a line, for the pixels 1, 2 and so on (or from 0 on, where the first "
            "name is background)"
        )

    def name_of(self, level: int) -> str | None:
        """Return the name of a number or colour, "" for what is none, None for an unknown one."""
        if self.are_colours:
            return "" if level == _VOC_BORDER else self.by_level.get(level)
        known = self.by_level.get(level)
        if known is None and level == _BORDER:
            return self.words[0] if len(self.words) == 1 else ""
        return "" if known is None and level == 0 else known


def _without_background(names: dict[int, str]) -> dict[int, str]:
    return {i: "" if name.lower() in _BACKGROUND else name for i, name in names.items()}


def _label_map(file: Path) -> dict[int, str]:
    names = {}
    for line in read_lines(file):
        if line.startswith("#"):
            continue
        try:
            name, colour = line.split(":")[:2]
            red, green, blue = (int(value) for value in colour.split(","))
        except ValueError:
            raise ValueError(
                f"{str(file)!r} has the line {line!r}; lines are name:red,green,blue::"
            ) from None
        names[red << 16 | green << 8 | blue] = name.strip()
    return names


def _table(file: Path) -> dict[int, str]:
    rows = list(csv.reader(read_lines(file)))
    try:
        return {int(row[0]): row[1].strip() for row in rows[1:]}
    except (ValueError, IndexError):
        raise ValueError(
            f"{str(file)!r} is no table of Pixel Value and Class; export it again"
        ) from None


def read_parts(names: Names, mask: Path, objects: Path | None) -> Parts | str:
    """Read the parts of a mask; what is wrong with the file, in words, where it cannot be read."""
    try:
        levels = _levels(mask, names.are_colours)
        apart = None if objects is None else _levels(objects, True)
        if apart is not None and apart.shape != levels.shape:
            return f"{objects} has another size"
    except Exception as error:  # Decoders raise nearly anything when the bytes are wrong.
        if is_of_the_machine(error):
            raise
        return str(error) or type(error).__name__
    boxes, unnamed = [], []
    for level in np.unique(levels).tolist():
        name = names.name_of(level)
        if name is None:
            unnamed.append(f"#{level:06x}" if names.are_colours else str(level))
        elif name:
            shown = levels == level
            parts = _connected(shown) if apart is None else _apart(shown, apart)
            boxes += [(name, box) for box in parts]
    height, width = levels.shape
    return Parts((height, width), boxes, unnamed)


def _levels(file: Path, are_colours: bool) -> Array:
    """Read the numbers of a mask, or its colours as 0xRRGGBB, [H, W]."""
    with open_image(str(file)) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("more than 100 megapixels")
        if are_colours:
            red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int64), 2, 0)
            colours: Array = red << 16 | green << 8 | blue
            return colours
        return _numbers(image)


def _numbers(image: Image.Image) -> Array:
    pixels = np.asarray(image)
    if pixels.dtype == bool:
        return pixels.astype(np.int64) * _BORDER
    if pixels.ndim == 2:
        return pixels.astype(np.int64)
    shown = pixels[:, :, : 3 if pixels.shape[2] >= 3 else 1]
    if not (shown == shown[:, :, :1]).all():
        raise ValueError("it has colours; name them in labelmap.txt, as name:red,green,blue::")
    return shown[:, :, 0].astype(np.int64)


def _connected(shown: Array) -> Iterator[Box]:
    """Walk over the boxes of the connected parts of a mask [H, W], corners joining, too."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(shown.astype(np.uint8), connectivity=8)
    for left, top, width, height, _ in stats[1:].tolist():
        yield float(left), float(top), float(left + width), float(top + height)


def _apart(shown: Array, objects: Array) -> Iterator[Box]:
    """Walk over the boxes of the objects in a mask, both [H, W]; black and the border are none."""
    for colour in np.unique(objects[shown]).tolist():
        if colour not in (0, _VOC_BORDER):
            yield mask_box(shown & (objects == colour))
