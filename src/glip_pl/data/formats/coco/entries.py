"""The images and boxes of COCO-shaped JSON: those that are meant without doubt, and the rest told.

An id that several images share may mean any of them, so that none of their boxes can be placed:
all are left out. Ids are compared as numbers, as tools write them: "007", "07" and 7 are one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from glip_pl.data.annotations import Problems, name_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.mask_boxes import segmentation_box
from glip_pl.data.formats.common.records import Annotation, Record
from glip_pl.data.formats.common.values import (
    WRONG,
    corners,
    is_true,
    objects,
    size_of,
    whole_number,
)

# What the entries hold and a set does not; masks are most of a file's bytes.
UNREAD = ("segmentation", "keypoints", "tokens_positive")


def image_record(entry: Mapping[str, Any]) -> Record:
    """Read an image's entry without its boxes.

    Raises:
        ValueError: Its id is no number or it has no pixels; what else is missing or wrong raises
            another of `WRONG`.
    """
    image_id = whole_number(entry["id"])
    if image_id is None:
        raise ValueError(f"{entry['id']!r} is no number")
    name, caption = entry["file_name"], entry.get("caption")
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is no name of a file")
    return Record(
        image_id, name, size_of(entry), caption=caption if isinstance(caption, str) else None
    )


def boxes_of(
    entries: Any,
    listed: Collection[int],
    records: Mapping[int, Record],
    problems: Problems,
    names: Mapping[int, str] | None = None,
) -> Iterator[tuple[Record, Mapping[str, Any], Annotation | None]]:
    """Walk over the annotations of usable images: image, entry and box.

    The box is None where it cannot be used; what is wrong has been told.

    Args:
        entries: The annotations of the JSON.
        listed: Ids of all images of the JSON; boxes of those that are not usable are passed over,
            since their image has been counted.
        records: The usable images by id.
        problems: Gains what is left out or changed.
        names: The categories by id, where the boxes must have one.
    """
    for entry in objects(entries):
        image_id = whole_number(entry.get("image_id"))
        if image_id is None or image_id not in listed:
            note(problems, checks.UNKNOWN_IMAGE, name_of(entry))
        elif image_id in records:
            record = records[image_id]
            yield record, entry, read_box(entry, record.size, problems, names)


def read_box(
    entry: Mapping[str, Any],
    size: tuple[int, int],
    problems: Problems,
    names: Mapping[int, str] | None = None,
) -> Annotation | None:
    """Read a box, its category where there are names, crowd and score.

    Returns:
        The box; None where it cannot be used, which has been told.
    """
    category = None
    if names is not None:
        category = whole_number(entry.get("category_id"))
        if category not in names:
            note(problems, checks.UNKNOWN_CATEGORY, f"{name_of(entry)}: {category}")
            return None
    box, kind = checked_box(box_corners(entry), size)
    note(problems, kind, f"{name_of(entry)}: {entry.get('bbox')}")
    if box is None:
        return None
    try:
        score = None if entry.get("score") is None else float(entry["score"])
    except WRONG:
        note(problems, checks.NO_SCORE, f"{name_of(entry)}: {entry['score']}")
        return None
    return Annotation(box, category, crowd=is_true(entry.get("iscrowd", 0)), score=score)


def box_corners(entry: Mapping[str, Any]) -> Sequence[float]:
    """Read xyxy corners of an entry's box, or around its mask where it has no box but a mask."""
    bbox, mask = entry.get("bbox"), entry.get("segmentation")
    if mask and (not bbox or bbox == [0, 0, 0, 0]):
        return segmentation_box(mask)
    return corners(bbox)


def roots_of(
    categories: Sequence[Mapping[str, Any]], names: Mapping[int, str], used: Collection[int]
) -> tuple[int, ...]:
    """Find the categories that others name as their ``supercategory`` and that are not `used`."""
    kinds = {
        str(category.get("supercategory"))
        for category in categories
        if category.get("supercategory") != category.get("name")
    }
    above = {i for i, name in names.items() if name in kinds}
    return tuple(sorted(above - set(used)))


def unread_of(listed: Sequence[Mapping[str, Any]], keys: Sequence[str] = UNREAD) -> dict[str, int]:
    """Count the annotations that hold what a set does not, by key."""
    counts = {key: sum(bool(entry.get(key)) for entry in listed) for key in keys}
    return {key: count for key, count in counts.items() if count}
