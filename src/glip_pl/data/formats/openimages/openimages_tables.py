"""The tables of OpenImages: boxes, names of labels, and labels known to be absent."""

import csv
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES, read_sizes
from glip_pl.data.formats.common.records import Annotation, AnnotationSet
from glip_pl.data.formats.common.values import is_true

COLUMNS = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax")
_NEEDED = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax")
_UNREAD = ("IsOccluded", "IsTruncated", "IsDepiction", "IsInside")
_GROUP = "IsGroupOf"
_AT_ONCE = 20_000  # Rows that are objects at a time, before they become columns.


def is_box_table(file: Path) -> bool:
    """Recognise by the first line whether a file is a table of boxes."""
    with file.open("rb") as opened:
        columns = opened.readline(1000).decode("utf-8-sig", "replace").strip().split(",")
    return set(_NEEDED) <= set(columns)


def read_names(file: Path) -> tuple[dict[int, str], dict[str, int]]:
    """Read the labels: their names by number, counted from 1, and the number of each label."""
    with file.open(newline="", encoding="utf-8-sig") as opened:
        rows = [row for row in csv.reader(opened) if len(row) >= 2]
    # Only the releases from V7 on begin with the names of the columns.
    rows = rows[1:] if rows and rows[0][0] == "LabelName" else rows
    return (
        {number: row[1] for number, row in enumerate(rows, start=1)},
        {row[0]: number for number, row in enumerate(rows, start=1)},
    )


def read_split(
    table: Path,
    folder: Path,
    names: Mapping[int, str],
    ids: Mapping[str, int],
    labels: Path | None = None,
    place: Path | None = None,
) -> AnnotationSet:
    """Read the boxes of a split.

    Args:
        table: The table of boxes.
        folder: Where its pictures lie.
        names: Name of each category.
        ids: Category of each label.
        labels: The table of what people looked for in each picture, if there is one.
        place: Folder that the columns are written into; None keeps them in memory.

    Raises:
        ValueError: A table lacks a column.
    """
    found = AnnotationSet(folder, [], dict(names))
    problems = found.problems
    checks.note_same_names(names, problems)
    files = _files_by_id(folder, problems)
    read = read_sizes([os.path.join(folder, name) for name in files.values()])
    sizes = {}
    for image_id, size in zip(files, read, strict=True):
        if isinstance(size, str):
            note(problems, size, files[image_id])
        else:
            sizes[image_id] = size
    builder = ColumnsBuilder(place)
    rows = {image_id: row for row, image_id in enumerate(sizes)}
    everyone = list(rows)
    absent = _absent_by_row(labels, rows, ids) if labels else None
    for first in range(0, len(rows), _AT_ONCE):
        some = everyone[first : first + _AT_ONCE]
        builder.add_images(
            range(first + 1, first + 1 + len(some)),
            [sizes[image_id] for image_id in some],
            [files[image_id] for image_id in some],
            absent=absent and absent[first : first + _AT_ONCE],
        )
    boxes = _boxes(table, files, sizes, ids, found)
    while part := list(islice(boxes, _AT_ONCE)):
        builder.add_annotations([rows[image_id] for image_id, _ in part], [box for _, box in part])
    return replace(found, records=builder.finish())


def _boxes(
    table: Path,
    files: Mapping[str, str],
    sizes: Mapping[str, tuple[int, int]],
    ids: Mapping[str, int],
    found: AnnotationSet,
) -> Iterator[tuple[str, Annotation]]:
    """Walk over the usable boxes of a table, each with its picture's id."""
    missing = set()
    for image_id, row in _rows(table):
        if image_id not in sizes:
            if image_id not in files:
                missing.add(image_id)
            continue
        for flag in _UNREAD:
            if _is_set(row.get(flag)):
                found.unread[flag] = found.unread.get(flag, 0) + 1
        annotation, kind = _annotation(row, sizes[image_id], ids)
        if kind is not None:
            values = ",".join(str(row.get(column, "")) for column in _NEEDED)
            note(found.problems, kind, values)
        if annotation is not None:
            yield image_id, annotation
    if missing:
        found.problems.setdefault(checks.MISSING_FILE, []).extend(sorted(missing))


def _absent_by_row(
    file: Path, rows: Mapping[str, int], ids: Mapping[str, int]
) -> list[tuple[int, ...]]:
    """Read what is known not to be in each picture, by its row."""
    absent = [array("q") for _ in rows]
    for image_id, row in _rows(file, ("ImageID", "LabelName", "Confidence")):
        if image_id in rows and row["LabelName"] in ids and _number(row["Confidence"]) == 0:
            absent[rows[image_id]].append(ids[row["LabelName"]])
    return [tuple(held) for held in absent]


def write_boxes(file: Path, annotation_set: AnnotationSet, codes: Mapping[str, str]) -> None:
    """Write the table of boxes of a split, a label's code for each name."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow((*COLUMNS, _GROUP))
        for record in annotation_set.records:
            height, width = record.size
            for annotation in record.annotations:
                x1, y1, x2, y2 = annotation.box
                score = 1 if annotation.score is None else annotation.score
                code = codes[annotation_set.names[annotation.category or 0]]
                # So many digits bring back the same number.
                sides = (f"{v:.17g}" for v in (x1 / width, x2 / width, y1 / height, y2 / height))
                image_id = _image_id(record.file_name)
                writer.writerow((image_id, "", code, score, *sides, int(annotation.crowd)))


def label_rows(
    annotation_set: AnnotationSet, codes: Mapping[str, str]
) -> Iterator[tuple[str, str, str, int]]:
    """List the labels that each image shows, with 1, and those absent, with 0."""
    names = annotation_set.names
    for record in annotation_set.records:
        shown = {annotation.category for annotation in record.annotations}
        absent = record.absent
        # Where nothing is known to be absent, everything was looked for.
        if absent is None:
            absent = tuple(i for i in names if i not in shown)
        image_id = _image_id(record.file_name)
        yield from ((image_id, "", codes[names[i]], 1) for i in names if i in shown)
        yield from ((image_id, "", codes[names[i]], 0) for i in absent if i in names)


def _rows(file: Path, needed: tuple[str, ...] = _NEEDED) -> Iterator[tuple[str, dict[str, str]]]:
    """Walk over a table: the image of each row, and its values by column."""
    with file.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.reader(opened)
        columns = next(reader, [])
        if not set(needed) <= set(columns):
            lacking = ", ".join(sorted(set(needed) - set(columns)))
            raise ValueError(f"{str(file)!r} has no column {lacking}; download the table again")
        at = columns.index("ImageID")
        for row in reader:
            if len(row) > at:
                yield row[at], dict(zip(columns, row, strict=False))


def _files_by_id(folder: Path, problems: Problems) -> dict[str, str]:
    """Find the pictures: the path below the folder of each id, in the order of the ids."""
    found: dict[str, str] = {}
    below = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    for path in sorted(path for path in below if path.lower().endswith(IMAGE_SUFFIXES)):
        name = Path(path).relative_to(folder).as_posix()
        if found.setdefault(_image_id(name), name) != name:
            note(problems, checks.REPEATED_IMAGE, name)
    return found


def _image_id(file_name: str) -> str:
    return str(PurePosixPath(file_name).with_suffix(""))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _is_set(flag: str | None) -> bool:
    """Read a flag, of which -1 says that nobody knows."""
    return is_true(flag) and flag != "-1"


def _annotation(
    row: Mapping[str, str], size: tuple[int, int], ids: Mapping[str, int]
) -> tuple[Annotation | None, str | None]:
    """Read a row: the annotation, None where it is left out, and the name of its problem."""
    category = ids.get(row.get("LabelName", ""))
    if category is None:
        return None, checks.NO_NAME
    height, width = size
    try:
        x1, y1, x2, y2 = (float(row[side]) for side in ("XMin", "YMin", "XMax", "YMax"))
    except (KeyError, ValueError):
        return None, checks.NO_BOX
    box, kind = checked_box((x1 * width, y1 * height, x2 * width, y2 * height), size)
    confidence = _number(row.get("Confidence", "1"))
    # A box of confidence 1 was drawn or checked by people.
    score = confidence if 0 <= confidence < 1 else None
    crowd = _is_set(row.get(_GROUP))
    return box and Annotation(box, category, crowd=crowd, score=score), kind
