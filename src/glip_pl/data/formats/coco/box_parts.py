"""Annotations of COCO's JSON as arrays, as they are written: a piece of the file at a time."""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from glip_pl.data.formats.coco.entries import UNREAD, box_corners
from glip_pl.data.formats.columns.rows import NO_CATEGORY
from glip_pl.data.formats.columns.store import Array
from glip_pl.data.formats.common.json_pieces import JsonPiece
from glip_pl.data.formats.common.values import WRONG, is_true, objects, whole_number

# What stands for a number that is none; as an id it is refused, see `whole_number`.
NO_NUMBER = NO_CATEGORY
_NOTHING = msgspec.Raw(b"")
_FALSY = (b"", b"[]", b"{}", b"null", b'""', b"0", b"false")


class _Fields(msgspec.Struct, gc=False):
    """What a well-formed annotation has."""

    image_id: int
    bbox: tuple[float, float, float, float]
    category_id: int
    id: int | None = None
    iscrowd: int | bool | None = 0
    score: float | None = None
    segmentation: msgspec.Raw = _NOTHING
    keypoints: msgspec.Raw = _NOTHING
    tokens_positive: msgspec.Raw = _NOTHING


class _Shown(msgspec.Struct, gc=False, omit_defaults=True):
    """What messages show of an annotation, as it is written."""

    id: object = msgspec.UNSET
    image_id: object = msgspec.UNSET
    category_id: object = msgspec.UNSET
    bbox: object = msgspec.UNSET
    score: object = msgspec.UNSET


_EXACT = msgspec.json.Decoder(list[_Fields])
# Of the rest, what no box depends on is not looked for.
_ONCE = ("image_id", "bbox", "category_id", "iscrowd")
_AS_WRITTEN = msgspec.json.Decoder(list[_Shown])


@dataclass(frozen=True)
class BoxPart:
    """Annotations of a piece, [n]; `NO_NUMBER` stands for what is no number.

    `scores` are None where no box has one, and `bad_scores` are those that are no numbers.
    """

    ids: Array
    image_ids: Array
    categories: Array
    corners: Array
    crowd: Array
    scores: list[float | None] | None
    bad_scores: Array
    text_ids: Mapping[int, str]
    unread: Counter[str]


def read_part(piece: JsonPiece) -> BoxPart:
    """Read the annotations of a piece.

    Raises:
        ValueError: They are no JSON, or nested too deep.
    """
    return _exact_part(piece) or _loose_part(piece)


def _exact_part(piece: JsonPiece) -> BoxPart | None:
    """Read a piece all of whose annotations are well-formed."""
    entries = piece.decode(_EXACT, once=_ONCE)
    if entries is None:
        return None
    count = len(entries)
    try:
        ids = _whole(entries, "id")
        image_ids, categories = _whole(entries, "image_id"), _whole(entries, "category_id")
    except OverflowError:
        return None
    boxes = np.fromiter(
        chain.from_iterable(map(attrgetter("bbox"), entries)), np.float64, 4 * count
    ).reshape(count, 4)
    if not boxes.any(1).all() and any(e.segmentation is not _NOTHING for e in entries):
        return None  # Boxes of zeros may have masks that tell more.
    boxes[:, 2:] += boxes[:, :2]
    scores = list(map(attrgetter("score"), entries))
    return BoxPart(
        ids=ids,
        image_ids=image_ids,
        categories=categories,
        corners=boxes,
        crowd=np.fromiter(map(attrgetter("iscrowd"), entries), bool, count),
        scores=None if scores.count(None) == count else scores,
        bad_scores=np.zeros(count, bool),
        text_ids={},
        unread=_unread_of(entries),
    )


def _whole(entries: list[_Fields], key: str) -> Array:
    """Take a number of each entry; 64 bits hold them, or it raises OverflowError."""
    try:
        numbers = array("q", map(attrgetter(key), entries))
    except TypeError:
        given = map(attrgetter(key), entries)
        numbers = array("q", [NO_NUMBER if number is None else number for number in given])
    return np.frombuffer(numbers, np.int64)


def _unread_of(entries: list[_Fields]) -> Counter[str]:
    """Count the entries that hold more than nothing of what is not read."""
    unread: Counter[str] = Counter()
    for key in UNREAD:
        raws = [raw for raw in map(attrgetter(key), entries) if raw is not _NOTHING]
        held = sum(b"".join(bytes(raw)[:32].split()) not in _FALSY for raw in raws)
        unread.update({key: held} if held else {})
    return unread


def entries_at(piece: JsonPiece, places: list[int]) -> list[Mapping[str, Any]]:
    """Return some entries of a piece as they are written, with what messages show."""
    entries = piece.decode(_AS_WRITTEN)
    if entries is None:
        values = objects(piece.values())
        return [values[place] for place in places]
    fields = _Shown.__struct_fields__
    shown = [{key: getattr(entries[place], key) for key in fields} for place in places]
    return [{k: v for k, v in entry.items() if v is not msgspec.UNSET} for entry in shown]


def _loose_part(piece: JsonPiece) -> BoxPart:
    """Read a piece that anyone may have written, entry by entry."""
    entries = objects(piece.values())
    scores, bad = list[float | None](), np.zeros(len(entries), bool)
    for place, entry in enumerate(entries):
        try:
            scores.append(None if entry.get("score") is None else float(entry["score"]))
        except WRONG:
            scores.append(None)
            bad[place] = True
    given = [entry.get("id") for entry in entries]
    boxes = [box_corners(entry) or (np.nan,) * 4 for entry in entries]
    unread: Counter[str] = Counter()
    for key in UNREAD:
        held = sum(bool(entry.get(key)) for entry in entries)
        unread.update({key: held} if held else {})
    return BoxPart(
        ids=_numbers(int(i) if isinstance(i, int) else None for i in given),
        image_ids=_numbers(entry.get("image_id") for entry in entries),
        categories=_numbers(entry.get("category_id") for entry in entries),
        corners=np.array(boxes, np.float64),
        crowd=np.array([is_true(entry.get("iscrowd", 0)) for entry in entries], bool),
        scores=None if scores.count(None) == len(scores) else scores,
        bad_scores=bad,
        text_ids={place: i for place, i in enumerate(given) if isinstance(i, str)},
        unread=unread,
    )


def _numbers(values: Any) -> Array:
    numbers = (whole_number(value) for value in values)
    return np.array([NO_NUMBER if number is None else number for number in numbers], np.int64)
