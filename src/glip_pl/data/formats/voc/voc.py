"""Pascal VOC: one XML a picture, and lists of the pictures of each split.

A folder with ``Annotations/ID.xml``, ``JPEGImages/ID.jpg`` and ``ImageSets/Main/SPLIT.txt``. A box
is the first and last pixel that it covers, counted from 1, so that it reaches from xmin - 1 to xmax
in pixels from the left border. ``difficult`` boxes are neither required nor punished in VOC's
evaluation, which is what a crowd is here. See http://host.robots.ox.ac.uk/pascal/VOC.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.checks import (
    MISSING_FILE,
    UNSURE_FILE,
    checked_box,
    note,
    note_same_names,
)
from glip_pl.data.formats.common.detection_sets import all_names, as_detection
from glip_pl.data.formats.common.file_names import FilesBelow, leads_out, parts_from, plain_name
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES, place_images, read_sizes
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record
from glip_pl.data.formats.common.spool import Spool
from glip_pl.data.formats.common.text_files import read_lines
from glip_pl.data.formats.voc.layouts import Layout, find_layout
from glip_pl.data.formats.voc.voc_xml import Picture, picture_tree, read_pictures

# Main holds a list of each split and one of each category in it, "cat_train.txt".
_CATEGORY_LIST = re.compile(r".+_(train|val|trainval|test)")


class Voc(Format):
    """Pascal VOC; boxes keep the decimals that they have."""

    name: ClassVar[str] = "voc"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "crowd"})

    def detect(self, path: Path) -> bool:
        """Return whether a folder has VOC's XML beside lists or pictures."""
        return find_layout(path) is not None

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the splits of a folder; "all" where it has no list of pictures.

        Categories are numbered in the order of ``labels.txt``, where there is one, else of their
        names, and pictures in the order of theirs.
        """
        layout = find_layout(path)
        if layout is None:
            raise ValueError(
                f"{str(path)!r} has no folders Annotations and JPEGImages, or annotations and "
                "images, nor XML beside pictures; name the folder that has them, "
                "VOCdevkit/VOC2012 for example"
            )
        lists = _lists(path, layout)
        number = {p: i for i, p in enumerate(sorted({p for ids in lists.values() for p in ids}), 1)}
        sets = {split: AnnotationSet(layout.images, []) for split in lists}
        pictures = {
            split: Spool.of(read_pictures(layout.annotations, ids, sets[split].problems))
            for split, ids in lists.items()
        }
        labels = path / "labels.txt"
        listed = read_lines(labels) if labels.is_file() else []
        found = {o.name for held in pictures.values() for p in held for o in p.objects}
        names = dict(enumerate(dict.fromkeys((*listed, *sorted(found))), start=1))
        files = FilesBelow(layout.images)
        for split, annotation_set in sets.items():
            annotation_set.names.update(names)
            note_same_names(names, annotation_set.problems)
            filled = _filled(annotation_set, pictures[split], number, files)
            sets[split] = replace(annotation_set, records=columns_of(filled))
        return sets

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write the three folders, and the names, which some may have no box of, ``labels.txt``.

        The pictures of all splits lie together.
        """
        placed = place_images(as_detection(sets), path / "JPEGImages", unique_stems=True)
        lists = path / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        for split, annotation_set in placed.items():
            stems = []
            for record in annotation_set.records:
                stem = str(PurePosixPath(record.file_name).with_suffix(""))
                file = path / "Annotations" / f"{stem}.xml"
                file.parent.mkdir(parents=True, exist_ok=True)
                picture_tree(record, annotation_set.names).write(file, encoding="utf-8")
                stems.append(stem)
            listed = "".join(f"{stem}\n" for stem in stems)
            (lists / f"{split}.txt").write_text(listed, encoding="utf-8")
        labels = "".join(f"{name}\n" for name in all_names(placed.values()))
        (path / "labels.txt").write_text(labels, encoding="utf-8")


def _lists(path: Path, layout: Layout) -> dict[str, list[str]]:
    """Read the pictures' ids by split: the paths of their XML, without the suffix."""
    folder = layout.annotations
    if layout.splits:
        return {
            split: [f"{name}/{file.stem}" for file in sorted((folder / name).glob("*.xml"))]
            for split, name in layout.splits.items()
        }
    files = sorted((path / "ImageSets" / "Main").glob("*.txt"))
    files = [file for file in files if not _CATEGORY_LIST.fullmatch(file.stem)]
    if any(file.stem in ("train", "val") for file in files):
        # It lists the pictures of both once more.
        files = [file for file in files if file.stem != "trainval"]
    if not files:
        found = sorted(folder.rglob("*.xml"))
        return {"all": [file.relative_to(folder).with_suffix("").as_posix() for file in found]}
    return {
        file.stem: list(dict.fromkeys(_picture_id(line, folder) for line in read_lines(file)))
        for file in files
    }


def _picture_id(line: str, folder: Path) -> str:
    """Read an id of a list, some of which name the picture's file or go on with a number."""
    plain = plain_name(line)
    stem, dot, suffix = plain.rpartition(".")
    name = stem if dot + suffix.lower() in IMAGE_SUFFIXES else plain
    # The list may name files with their folders, "JPEGImages/1.jpg".
    ends = (parts_from(name, start) for start in range(1, name.count("/") + 1))
    options = (plain, name, *line.split(), line, *ends)
    there = (o for o in options if o and not leads_out(o) and (folder / f"{o}.xml").is_file())
    return next(there, line)


def _filled(
    annotation_set: AnnotationSet,
    pictures: Spool[Picture],
    number: Mapping[str, int],
    below: FilesBelow,
) -> Iterator[Record]:
    """Turn pictures into records, sizes that no XML tells taken from the image files."""
    problems, folder = annotation_set.problems, annotation_set.images
    ids = {name: i for i, name in annotation_set.names.items()}
    files = _image_files(below, pictures, problems)
    unsized = [f for f, p in zip(files, pictures, strict=True) if f and min(p.size) < 1]
    sizes = dict(zip(unsized, read_sizes([str(folder / f) for f in unsized]), strict=True))
    for file, picture in zip(files, pictures, strict=True):
        if file is None:
            continue
        size = sizes.get(file, picture.size)
        if isinstance(size, str):
            note(problems, size, file)
            continue
        annotations = []
        for thing in picture.objects:
            box, kind = checked_box(thing.corners, size)
            note(problems, kind, f"{thing.name!r} of {picture.picture_id}: {list(thing.corners)}")
            if box is not None:
                # VOC counts difficult objects neither as found nor as missed, as COCO does crowds.
                annotations.append(Annotation(box, ids[thing.name], crowd=thing.difficult))
        yield Record(number[picture.picture_id], file, size, tuple(annotations))
        if picture.parts:
            count = annotation_set.unread.get("part", 0) + picture.parts
            annotation_set.unread["part"] = count


def _image_files(
    below: FilesBelow, pictures: Spool[Picture], problems: Problems
) -> list[str | None]:
    """Find the file of each picture: by its id, else by the name that the XML gives.

    A copied XML often names the picture that it was copied from, whose own id goes before.
    """
    own = [_file_of_id(below, picture) for picture in pictures]
    taken = {file for file in own if file is not None}
    named = [None if file else _named_file(below, p) for file, p in zip(own, pictures, strict=True)]
    uses = Counter(file for file in named if file is not None)
    found = list[str | None]()
    for picture, file, other in zip(pictures, own, named, strict=True):
        if file is None and other is None:
            note(problems, MISSING_FILE, f"{picture.picture_id}.jpg")
        elif other is not None and (other in taken or uses[other] > 1):
            note(problems, UNSURE_FILE, f"{other} of {picture.picture_id}.xml")
            other = None
        found.append(file or other)
    return found


def _file_of_id(below: FilesBelow, picture: Picture) -> str | None:
    """Find a.jpg or a.png of a.xml, the one that the XML names first."""
    written = plain_name(picture.file_name).rpartition("/")[2]
    own = PurePosixPath(picture.picture_id).with_name(written or "none").as_posix()
    names = (f"{picture.picture_id}{suffix}" for suffix in IMAGE_SUFFIXES)
    options = (own, *names) if own.startswith(f"{picture.picture_id}.") else names
    return next((file for name in options if (file := below.find(name)) is not None), None)


def _named_file(below: FilesBelow, picture: Picture) -> str | None:
    """Find the file that an XML names, beside the id or with the folders that it writes."""
    plain = plain_name(picture.file_name).removeprefix("/")
    parts = plain.split("/")
    beside = PurePosixPath(picture.picture_id).parent
    options = ["/".join(parts[start:]) for start in range(len(parts))]
    options.append((beside / parts[-1]).as_posix())
    return next((file for name in options if name and (file := below.find(name))), None)
