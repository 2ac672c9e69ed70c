"""Whether what was written reads back as it was: images by their size, boxes and words."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glip_pl.data.annotations import Box
from glip_pl.data.formats import AnnotationSet, Format, Record
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.store import Array
from glip_pl.data.formats.common.detection_sets import as_detection

_NEAR = 0.01  # Pixels; formats write parts of the image, percents or decimals.
# Name, crowd and corners of the boxes of a record.
Boxes = list[tuple[str, bool, Box]]


def refuse_other(writer: Format, sets: Mapping[str, AnnotationSet], folder: Path) -> None:
    """Read a folder that was just written, and hold it against what should be in it.

    Raises:
        ValueError: It has other images, or an image has other boxes, names or captions.
    """
    if "captions" not in writer.holds:  # Records of one file are written as one.
        sets = as_detection(sets)
    meant, found = _Content.of(sets), _Content.of(writer.read(folder))
    if not _alike(meant, found):
        raise ValueError(
            f"what was written as {writer.name} reads back as {len(found.keys)} records with "
            f"{found.boxes} boxes, and not as the {len(meant.keys)} with {meant.boxes} meant; "
            "nothing is kept; convert into another format, or drop --strict"
        )


@dataclass(frozen=True)
class _Content:
    """All records of some sets, in the order of what can be compared of them without tolerance.

    Attributes:
        parts: The records of each set, and its names.
        keys: A hash of size, caption and names of each record, ascending, uint64 [R].
        totals: The sum of the corners of all its boxes, ascending among equal keys, [R].
        places: Which set it is of, and which record there, int64 [R, 2].
        boxes: How many boxes there are.
    """

    parts: Sequence[tuple[ColumnRecords, Mapping[int, str]]]
    keys: Array
    totals: Array
    places: Array
    boxes: int

    @classmethod
    def of(cls, sets: Mapping[str, AnnotationSet]) -> "_Content":
        parts = [(columns_of(held.records), held.names) for held in sets.values()]
        count = sum(len(records) for records, _ in parts)
        keys, totals = np.empty(count, np.uint64), np.empty(count)
        places = np.empty((count, 2), np.int64)
        at = boxes = 0
        for number, (records, names) in enumerate(parts):
            boxes += int(records.box_counts.sum())
            for place, record in enumerate(records):
                shown = _boxes_of(record, names)
                keys[at] = _key(record, shown)
                totals[at] = sum(sum(box) for _, _, box in shown)
                places[at] = number, place
                at += 1
        order = np.lexsort((totals, keys))
        return cls(parts, keys[order], totals[order], places[order], boxes)

    def __iter__(self) -> Iterator[tuple[int, float, Boxes]]:
        """Walk over the keys, totals and boxes."""
        for key, total, (number, place) in zip(
            self.keys.tolist(), self.totals.tolist(), self.places.tolist(), strict=True
        ):
            records, names = self.parts[number]
            yield key, total, _boxes_of(records[place], names)


def _key(record: Record, boxes: Boxes) -> int:
    told = (record.size, record.caption or "", [name for name, _, _ in boxes])
    text = repr(told).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def _boxes_of(record: Record, names: Mapping[int, str]) -> Boxes:
    return sorted(
        ("" if a.category is None else names[a.category], a.crowd, a.box)
        for a in record.annotations
    )


def _alike(meant: _Content, found: _Content) -> bool:
    """Whether records can be paired whose boxes are the same up to `_NEAR`.

    Whatever rounding did to the order of records, the boxes of a pair add up to nearly the same, so
    that a few of those found wait for theirs at a time.
    """
    if not np.array_equal(meant.keys, found.keys):
        return False
    walk = iter(found)
    ahead = next(walk, None)
    waiting: deque[Boxes] = deque()
    before = None
    for key, total, boxes in meant:
        if key != before:
            waiting.clear()
            before = key
        place = next((i for i, other in enumerate(waiting) if _same(boxes, other)), None)
        if place is not None:
            del waiting[place]
            continue
        most = (key, total + _NEAR * 4 * (len(boxes) + 1))
        while ahead is not None and ahead[:2] <= most:
            other, ahead = ahead[2], next(walk, None)
            if _same(boxes, other):
                break
            waiting.append(other)
        else:
            return False
    return True


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
