"""The label files of YOLO: lines of numbers beside images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, file_problem, note
from glip_pl.data.formats.common.image_files import read_sizes
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record

NO_IMAGE = "label file without an image"
UNREADABLE_LABELS = "image whose label file cannot be read"


def read_labels(
    images: Sequence[str], names: Mapping[int, str], first: int, *, has_keypoints: bool
) -> AnnotationSet:
    """Read the labels of a split.

    Args:
        images: Its image files.
        names: The categories by number.
        first: Id of the first image.
        has_keypoints: Whether lines go on with key points, so that they are no outlines.
    """
    folder = os.path.commonpath([os.path.dirname(image) for image in images])
    found = AnnotationSet(Path(folder), [], dict(names))
    problems, unread = found.problems, found.unread
    checks.note_same_names(names, problems)
    labels = [_label_file(image) for image in images]
    if not any(os.path.isfile(label) for label in labels):
        note(problems, checks.NO_LABELS, os.path.relpath(os.path.dirname(labels[0]), folder))
    for file in _lonely(labels):
        note(problems, NO_IMAGE, os.path.relpath(file, folder))
    sizes = read_sizes(images)
    for number, (image, label, size) in enumerate(zip(images, labels, sizes, strict=True), first):
        name = PurePath(os.path.relpath(image, folder)).as_posix()
        if (kind := file_problem(folder, name)) is not None or isinstance(size, str):
            note(problems, kind or str(size), name)
            continue
        try:
            lines = Path(label).read_text().splitlines() if os.path.isfile(label) else []
        except (OSError, ValueError):
            note(problems, UNREADABLE_LABELS, name)
            continue
        annotations = []
        for place, line in enumerate(lines, start=1):
            values = line.split()
            if has_keypoints and len(values) > 5:
                values = values[:5]
                unread["keypoints"] = unread.get("keypoints", 0) + 1
            elif len(values) > 6:
                unread["segmentation"] = unread.get("segmentation", 0) + 1
            annotation, kind = _annotation(values, size, names) if values else (None, None)
            note(problems, kind, f"line {place} of {name}: {line.strip()}"[:200])
            if annotation is not None:
                annotations.append(annotation)
        found.records.append(Record(number, name, size, tuple(annotations)))
    return found


def label_line(annotation: Annotation, size: tuple[int, int], category: int) -> str:
    """Write a box as a line: the category, and its middle and sides in parts of the picture."""
    x1, y1, x2, y2 = annotation.box
    height, width = size
    parts = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return " ".join([str(category), *(f"{part:.17g}" for part in parts)]) + "\n"


def _label_file(image: str) -> str:
    """Name the label file of an image: the last folder "images" of its path is "labels"."""
    parts = os.path.splitext(image)[0].split(os.sep)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return os.sep.join(parts) + ".txt"


def _lonely(labels: Sequence[str]) -> list[str]:
    """List the label files in the folders of others that belong to no image."""
    wanted = set(labels)
    folders = sorted({os.path.dirname(label) for label in labels})
    found = [
        os.path.join(folder, name)
        for folder in folders
        if os.path.isdir(folder) and f"{os.sep}labels" in folder
        for name in sorted(os.listdir(folder))
        if name.endswith(".txt") and name != "classes.txt"
    ]
    return [file for file in found if file not in wanted]


def _annotation(
    values: Sequence[str], size: tuple[int, int], names: Mapping[int, str]
) -> tuple[Annotation | None, str | None]:
    """Read a line: the annotation, None where it is left out, and the name of its problem."""
    try:
        category, *parts = (float(value) for value in values)
    except ValueError:
        return None, checks.NO_BOX
    score = parts.pop() if len(parts) == 5 else None
    if len(parts) < 4 or len(parts) % 2:
        return None, checks.NO_BOX
    if category not in names:
        return None, checks.UNKNOWN_CATEGORY
    height, width = size
    if len(parts) == 4:
        x, y, w, h = parts
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top, right, bottom = (f(parts[i::2]) for f in (min, max) for i in (0, 1))
    corners = (left * width, top * height, right * width, bottom * height)
    box, kind = checked_box(corners, size)
    return box and Annotation(box, int(category), score=score), kind
