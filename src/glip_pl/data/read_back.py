"""Whether what was written reads back as it was: images by their size, boxes and words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glip_pl.data.formats import AnnotationSet, Format

_NEAR = 0.01  # Pixels; formats write parts of the image, percents or decimals.


def refuse_other(writer: Format, sets: Mapping[str, AnnotationSet], folder: Path) -> None:
    """Read a folder that was just written, and hold it against what should be in it.

    Raises:
        ValueError: It has other images, or an image has other boxes, names or captions.
    """
    meant, found = _content(sets), _content(writer.read(folder))
    same = len(meant) == len(found) and all(map(_alike, meant, found))
    if not same:
        boxes = [sum(len(image[-1]) for image in images) for images in (meant, found)]
        raise ValueError(
            f"what was written as {writer.name} reads back as {len(found)} records with {boxes[1]} "
            f"boxes, and not as the {len(meant)} records with {boxes[0]} boxes that were meant; "
            "nothing is kept; convert into another format, or drop --strict"
        )


def _content(sets: Mapping[str, AnnotationSet]) -> list[tuple[Any, ...]]:
    """List size, caption and boxes of every record, in an order of their own."""
    return sorted(
        (
            record.size,
            record.caption or "",
            sorted(
                (
                    [round(side, 1) + 0.0 for side in a.box],
                    "" if a.category is None else held.names[a.category],
                    a.crowd,
                    list(a.box),
                )
                for a in record.annotations
            ),
        )
        for held in sets.values()
        for record in held.records
    )


def _alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two records hold the same, boxes up to `_NEAR`."""
    if one[:2] != other[:2] or len(one[2]) != len(other[2]):
        return False
    return all(
        a[1:3] == b[1:3] and all(abs(x - y) < _NEAR for x, y in zip(a[3], b[3], strict=True))
        for a, b in zip(one[2], other[2], strict=True)
    )
