"""The JSON of COCO and LVIS, apart from how each describes an image."""

import codecs
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import Problems, name_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, file_problem, note
from glip_pl.data.formats.common.detection_sets import folder_split, subfolders
from glip_pl.data.formats.common.records import Annotation, Record
from glip_pl.data.formats.common.values import is_true

PEEK = 1 << 16
_PROBES = 20
# What the entries hold and a set does not; masks are most of a file's bytes.
_UNREAD = ("segmentation", "keypoints")


def json_ends(file: Path) -> bytes:
    """Read the first and last bytes of a JSON object; nothing of any other file.

    The lists of a document come in any order, so that either end may tell what it is.
    """
    with file.open("rb") as opened:
        head = opened.read(PEEK)
        opened.seek(max(len(head), file.stat().st_size - PEEK))
        begin = head.removeprefix(codecs.BOM_UTF8).lstrip()
        return head + opened.read() if begin[:1] == b"{" else b""


def read_document(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a JSON file and count what of it is not kept; masks are freed while reading.

    Raises:
        ValueError: The file is missing, no JSON, or lacks a list.
    """
    unread: Counter[str] = Counter()

    def without_masks(entry: dict[str, Any]) -> dict[str, Any]:
        for key in _UNREAD:
            if key in entry and entry.pop(key):
                unread[key] += 1
        return entry

    try:
        document = json.loads(file.read_bytes(), object_hook=without_masks)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(file)!r}: {error}; download or export it again"
        ) from error
    held = document if isinstance(document, dict) else {}
    keys = ("images", "annotations", "categories")
    lacking = [key for key in keys if not isinstance(held.get(key), list)]
    if lacking:
        raise ValueError(
            f"{str(file)!r} is not in COCO form: it has no list {' or '.join(lacking)}; pass "
            "another file, or name another format"
        )
    return held, dict(unread)


def locate_images(names: Sequence[str], file: Path, split: str | None) -> tuple[Path, int]:
    """Find the folder of images near an annotation file.

    Args:
        names: The images' names as the file has them.
        file: The annotation file.
        split: Its split; folders of this name are looked into.

    Returns:
        The folder, and how many of the last parts of a name count from there; 0 for all.
    """
    base = file.parent.parent if file.parent.name == "annotations" else file.parent
    around = [*subfolders(base / "images"), *subfolders(base)]
    folders = [base / "images", *(f for f in around if split and folder_split(f.name) == split)]
    folders += [base, file.parent]
    some = names[:: max(1, len(names) // _PROBES)]
    best, most = (folders[0], 0), 0
    # Objects365 and LVIS name folders that a download need not have: whole names come first.
    for depth in (0, 2, 1):
        for folder in folders:
            found = sum(file_problem(str(folder), last_parts(name, depth)) is None for name in some)
            if found > most:
                best, most = (folder, depth), found
    return best


def last_parts(name: str, depth: int) -> str:
    """Cut a path to its last parts; 0 keeps all."""
    return "/".join(name.split("/")[-depth:]) if depth else name


def read_boxes(
    entries: Sequence[Any],
    listed: set[int],
    records: Mapping[int, Record],
    names: Mapping[int, str],
    problems: Problems,
) -> dict[int, list[Annotation]]:
    """Collect the boxes of every usable image.

    Args:
        entries: The annotations of the JSON.
        listed: Ids of all images of the JSON; boxes of those that are not usable are passed over,
            since their image has been counted.
        records: The usable images by id.
        names: The categories by id.
        problems: Gains what is left out or changed.
    """
    found: dict[int, list[Annotation]] = {image_id: [] for image_id in records}
    seen = set()
    for entry in entries:
        entry = entry if isinstance(entry, dict) else {}
        image_id, category = _number(entry.get("image_id")), _number(entry.get("category_id"))
        if image_id not in records:
            if image_id not in listed:
                note(problems, checks.UNKNOWN_IMAGE, name_of(entry))
            continue
        if category not in names:
            note(problems, checks.UNKNOWN_CATEGORY, f"{name_of(entry)}: {category}")
            continue
        box, kind = checked_box(_corners(entry.get("bbox")), records[image_id].size)
        if kind is not None:
            note(problems, kind, f"{name_of(entry)}: {entry.get('bbox')}")
        if box is None:
            continue
        try:
            score = None if entry.get("score") is None else float(entry["score"])
        except (TypeError, ValueError):
            note(problems, checks.NO_SCORE, f"{name_of(entry)}: {entry['score']}")
            continue
        annotation_id = entry.get("id")
        if isinstance(annotation_id, int | str):
            if annotation_id in seen:
                note(problems, checks.REPEATED_ANNOTATION, name_of(entry))
            seen.add(annotation_id)
        crowd = is_true(entry.get("iscrowd", 0))
        found[image_id].append(Annotation(box, category, crowd=crowd, score=score))
    return found


def _number(value: Any) -> int:
    """Read an id, which some exports write as text; -1 where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return -1


def _corners(bbox: Any) -> Sequence[float]:
    """Turn xywh into xyxy; nothing where it is not four numbers."""
    try:
        x, y, width, height = bbox
        return (float(x), float(y), float(x) + float(width), float(y) + float(height))
    except (TypeError, ValueError, OverflowError):
        return ()


def box_entry(annotation: Annotation) -> dict[str, Any]:
    """Write a box as an annotation entry, without ids."""
    x1, y1, x2, y2 = annotation.box
    # The difference of two decimals has noise in its sixteenth digit.
    bbox = [round(value, 9) for value in (x1, y1, x2 - x1, y2 - y1)]
    entry = {
        "category_id": annotation.category,
        "bbox": bbox,
        "area": round(bbox[2] * bbox[3], 9),
        "iscrowd": int(annotation.crowd),
    }
    return entry if annotation.score is None else {**entry, "score": annotation.score}


def image_entry(record: Record, image_id: int) -> dict[str, Any]:
    """Write an image's entry."""
    height, width = record.size
    return {"id": image_id, "file_name": record.file_name, "height": height, "width": width}
