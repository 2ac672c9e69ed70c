"""Whether what was written reads back as it was: images by their size, boxes and words."""

from collections.abc import Mapping
from pathlib import Path

from glip_pl.data.annotations import Box
from glip_pl.data.formats import AnnotationSet, Format

_NEAR = 0.01  # Pixels; formats write parts of the image, percents or decimals.
# Size, caption and names of a record; name, crowd and corners of its boxes.
Key = tuple[tuple[int, int], str, tuple[str, ...]]
Boxes = list[tuple[str, bool, Box]]


def refuse_other(writer: Format, sets: Mapping[str, AnnotationSet], folder: Path) -> None:
    """Read a folder that was just written, and hold it against what should be in it.

    Raises:
        ValueError: It has other images, or an image has other boxes, names or captions.
    """
    meant, found = _content(sets), _content(writer.read(folder))
    same = meant.keys() == found.keys() and all(_alike(meant[key], found[key]) for key in meant)
    if not same:
        counts = [
            (sum(map(len, held.values())), sum(len(r) for rs in held.values() for r in rs))
            for held in (meant, found)
        ]
        raise ValueError(
            f"what was written as {writer.name} reads back as {counts[1][0]} records with "
            f"{counts[1][1]} boxes, and not as the {counts[0][0]} with {counts[0][1]} meant; "
            "nothing is kept; convert into another format, or drop --strict"
        )


def _content(sets: Mapping[str, AnnotationSet]) -> dict[Key, list[Boxes]]:
    """Gather the boxes of the records that have the same size, caption and names."""
    content: dict[Key, list[Boxes]] = {}
    for held in sets.values():
        for record in held.records:
            boxes = sorted(
                ("" if a.category is None else held.names[a.category], a.crowd, a.box)
                for a in record.annotations
            )
            names = tuple(name for name, _, _ in boxes)
            content.setdefault((record.size, record.caption or "", names), []).append(boxes)
    return content


def _alike(meant: list[Boxes], found: list[Boxes]) -> bool:
    """Whether records can be paired whose boxes are the same up to `_NEAR`."""
    if len(meant) != len(found):
        return False
    left = sorted(found, key=_total)
    for boxes in sorted(meant, key=_total):
        # Whatever order rounding gave to records, their boxes add up to nearly the same.
        slack = _NEAR * 4 * (len(boxes) + 1)
        near = (i for i, other in enumerate(left) if abs(_total(other) - _total(boxes)) < slack)
        place = next((i for i in near if _same(boxes, left[i])), None)
        if place is None:
            return False
        del left[place]
    return True


def _total(boxes: Boxes) -> float:
    return sum(sum(box) for _, _, box in boxes)


def _same(boxes: Boxes, others: Boxes) -> bool:
    left = list(others)
    for name, crowd, box in boxes:
        near = (i for i, other in enumerate(left) if other[:2] == (name, crowd))
        place = next(
            (
                i
                for i in near
                if all(abs(x - y) < _NEAR for x, y in zip(box, left[i][2], strict=True))
            ),
            None,
        )
        if place is None:
            return False
        del left[place]
    return True
