"""CVAT for images 1.1: one XML for all images, whose ``subset`` is their split.

Outlines, masks and ellipses give the box around them. Lines, points and tags show no area and are
counted as not read. The images lie in ``images`` beside the file, or have their names in folders.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.detection_sets import all_names, as_detection, folder_split
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.paths import FolderFinder, sources
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record
from glip_pl.data.formats.common.text_files import decode, is_readable
from glip_pl.data.formats.common.values import WRONG, size_of, whole_number
from glip_pl.data.formats.cvat.cvat_xml import (
    SHAPES,
    TAIL,
    Tag,
    head,
    image_text,
    read_images,
    shape_corners,
)

ANNOTATIONS = "annotations.xml"


class Cvat(Format):
    """CVAT's XML of images."""

    name: ClassVar[str] = "cvat"
    holds: ClassVar[frozenset[str]] = frozenset({"categories"})

    def detect(self, path: Path) -> bool:
        """Recognise by the first bytes of XML files: annotations of several images or frames."""
        return bool(sources(path, (".xml",), _is_cvat))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the XML, or those of a folder; "all" where it has no subsets.

        Raises:
            ValueError: There is none, it cannot be read, or it is of a video, whose frames have no
                names.
        """
        return self.read_with_images(path, None)

    def read_with_images(self, path: Path, images: Path | None) -> Mapping[str, AnnotationSet]:
        """Read the same files, whose images may lie in a named folder."""
        return _read_files(path, images)

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``annotations.xml`` and ``images``; the split of an image is its subset."""
        placed = place_images(as_detection(sets), path / "images")
        number = 0
        with (path / ANNOTATIONS).open("w", encoding="utf-8") as file:
            file.write(head(all_names(placed.values())))
            for split, held in placed.items():
                for record in held.records:
                    boxes = [(held.names[a.category or 0], a.box) for a in record.annotations]
                    written = (number, record.file_name, record.size, boxes)
                    file.write(image_text(*written, source="manual", subset=split))
                    number += 1
            file.write(TAIL)


def _is_cvat(file: Path) -> bool:
    with file.open("rb") as opened:
        head = decode(opened.read(1 << 16))
    return "<annotations" in head and ("<image " in head or "<track " in head or "<meta" in head)


def _read_files(path: Path, images: Path | None) -> dict[str, AnnotationSet]:
    files = sources(path, (".xml",), _is_cvat, needed=Cvat.name)
    sets: dict[str, AnnotationSet] = {}
    for split, file in files.items():
        for subset, found in _read_file(file, images).items():
            name = subset or split
            if name in sets:
                raise ValueError(
                    f"{str(path)!r} has the subset {name!r} in several files; pass one of them"
                )
            sets[name] = found
    return sets


def _read_file(file: Path, images_at: Path | None) -> dict[str, AnnotationSet]:
    """Read the images of a file by subset, "" where they have none."""
    document = read_images(file)
    problems: Problems = {}
    unread: Counter[str] = Counter()
    images = document.images
    labels, written, numbers = set[str](), list[str](), list[int | None]()
    for image in images:
        labels |= {shape.values.get("label", "") for shape in _shapes(image, Counter())}
        written.append(image.values.get("name", ""))
        numbers.append(whole_number(image.values.get("id")))
    readable = (name for name in (*document.labels, *sorted(labels)) if name and is_readable(name))
    names = dict(enumerate(dict.fromkeys(readable), start=1))
    checks.note_same_names(names, problems)
    ids = {name: number for number, name in names.items()}
    folder = FolderFinder(file, only=images_at)(written, problems)
    # A project has its images in folders of its subsets; elsewhere subsets may share an image.
    has_folder = cache(lambda subset: (folder.path / subset).is_dir())
    own_ids = None not in numbers and len(set(numbers)) == len(numbers)
    subsets = list[str]()

    def read() -> Iterator[Record]:
        for place, (image, number) in enumerate(zip(images, numbers, strict=True), start=1):
            try:
                size = size_of(image.values)
                subset = image.values.get("subset", "")
                found = folder.find(image.values["name"], subset if has_folder(subset) else "")
            except WRONG:
                note(problems, checks.NO_RECORD, f"image {place} of the file")
                continue
            if found is not None:
                boxes = tuple(_boxes(image, size, ids, problems, unread))
                split = folder_split(subset.lower()) or subset
                subsets.append("" if split.lower() == "default" else split)
                own_id = number if own_ids and number is not None else place
                yield Record(own_id, found, size, boxes)

    records = columns_of(read())
    of_subset = np.array(subsets, object)
    kept = {
        split: folder.certain(records.take(np.flatnonzero(of_subset == split)))
        for split in dict.fromkeys(subsets or [""])
    }
    # What is wrong with the file is told once, of its first split.
    return {
        split: AnnotationSet(
            *(folder.path, records, names),
            problems={} if place else problems,
            unread={} if place else dict(+unread),
        )
        for place, (split, records) in enumerate(kept.items())
    }


def _shapes(image: Tag, unread: Counter[str]) -> Iterator[Tag]:
    for shape in image.inside:
        if shape.name in SHAPES:
            yield shape
        else:
            unread[shape.name] += 1


def _boxes(
    image: Tag,
    size: tuple[int, int],
    ids: Mapping[str, int],
    problems: Problems,
    unread: Counter[str],
) -> Iterator[Annotation]:
    for shape in _shapes(image, unread):
        corners, beyond = shape_corners(shape)
        box, kind = checked_box(corners, size)
        label = shape.values.get("label", "")
        where = f"{label!r} of {image.values.get('name')}: {list(corners)}"
        note(problems, kind, where)
        if label not in ids:
            note(problems, checks.NO_LABEL, where)
        elif box is not None:
            if beyond is not None:
                unread[beyond] += 1
            yield Annotation(box, ids[label])
