"""The label files of YOLO: lines of numbers beside images."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import file_problem, note
from glip_pl.data.formats.common.image_files import read_sizes
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.data.formats.common.spool import Spool
from glip_pl.data.formats.common.text_files import REPLACED, decode
from glip_pl.data.formats.yolo.description import NAME_LISTS, Description
from glip_pl.data.formats.yolo.label_lines import LineReader

NO_IMAGE = "label file without an image"
SHARED_LABELS = "image whose label file belongs to another image as well"
UNREADABLE_LABELS = "image whose label file cannot be read"
_IMAGE_FOLDERS = ("images", "JPEGImages")


def read_labels(
    images: Sequence[str],
    described: Description,
    first: int,
    problems: Problems,
    every: Collection[str] = (),
) -> AnnotationSet:
    """Read the labels of a split.

    Args:
        images: Its image files.
        described: The categories, and whether lines have key points, so that they are no outlines.
        first: Id of the first image.
        problems: What has been found already.
        every: The image files of all splits, whose labels may lie in the same folder.
    """
    folder = os.path.commonpath([os.path.dirname(image) for image in images])
    found = AnnotationSet(Path(folder), [], dict(described.names), problems=problems)
    checks.note_same_names(described.names, problems)
    labels = _label_files(images)
    if not any(os.path.isfile(label) for label in labels):
        note(problems, checks.NO_LABELS, os.path.relpath(os.path.dirname(labels[0]), folder))
    shared = _shared(labels)
    for file in _lonely(labels, every):
        note(problems, NO_IMAGE, os.path.relpath(file, folder))
    texts = Spool.of(_lines(label) for label in labels)
    reader = LineReader.of(
        (line.split() for text in texts for line in text or ()), described, found
    )

    def read() -> Iterator[Record]:
        pairs = zip(images, labels, texts, read_sizes(images), strict=True)
        for number, (image, label, lines, size) in enumerate(pairs, first):
            name = PurePath(os.path.relpath(image, folder)).as_posix()
            if label in shared:
                note(problems, SHARED_LABELS, name)
                continue
            if (kind := file_problem(folder, name)) is not None or isinstance(size, str):
                note(problems, kind or str(size), name)
            elif lines is None:
                note(problems, UNREADABLE_LABELS, name)
            else:
                yield Record(number, name, size, tuple(reader.read(lines, size, name)))

    records = columns_of(read())
    checks.refuse_shifted(reader.used, described.names, str(described.file))
    return replace(found, records=records)


def _lines(label: str) -> list[str] | None:
    """Read the lines of a label file, none where there is none; None where it is unreadable."""
    try:
        text = decode(Path(label).read_bytes()) if os.path.isfile(label) else ""
    except OSError:
        return None
    return None if REPLACED in text else text.splitlines()


def label_line(annotation: Annotation, size: tuple[int, int], category: int) -> str:
    """Write a box as a line: the category, and its middle and sides in parts of the picture."""
    x1, y1, x2, y2 = annotation.box
    height, width = size
    parts = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return " ".join([str(category), *(f"{part:.17g}" for part in parts)]) + "\n"


def label_file(image: str) -> str:
    """Name the label file of an image: the last folder "images" of its path is "labels"."""
    parts = os.path.splitext(image)[0].split(os.sep)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] in _IMAGE_FOLDERS:
            parts[place] = "labels"
            break
    return os.sep.join(parts) + ".txt"


def _label_files(images: Sequence[str]) -> list[str]:
    """Name the label files of a split: in ``labels``, or beside the images where none is there."""
    apart = [label_file(image) for image in images]
    beside = [os.path.splitext(image)[0] + ".txt" for image in images]
    there = any(os.path.isfile(label) for label in apart)
    return beside if not there and any(os.path.isfile(label) for label in beside) else apart


def _shared(labels: Sequence[str]) -> set[str]:
    """List the label files that several images share: a.txt of a.jpg and a.png."""
    return {f for f, uses in Counter(labels).items() if uses > 1 and os.path.isfile(f)}


def _lonely(labels: Sequence[str], every: Collection[str]) -> list[str]:
    """List the label files in the folders of others that belong to no image of any split."""
    wanted = {*labels, *map(label_file, every)}
    folders = sorted({os.path.dirname(label) for label in labels})
    found = [
        os.path.join(folder, name)
        for folder in folders
        if os.path.isdir(folder) and f"{os.sep}labels" in folder
        for name in sorted(os.listdir(folder))
        if name.endswith(".txt") and name not in NAME_LISTS
    ]
    return [file for file in found if file not in wanted]
