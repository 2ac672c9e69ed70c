"""Pascal VOC: one XML a picture, and lists of the pictures of each split.

A folder with ``Annotations/ID.xml``, ``JPEGImages/ID.jpg`` and ``ImageSets/Main/SPLIT.txt``. A box
is the first and last pixel that it covers, counted from 1, so that it reaches from xmin - 1 to xmax
in pixels from the left border. ``difficult`` boxes are neither required nor punished in VOC's
evaluation, which is what a crowd is here. See http://host.robots.ox.ac.uk/pascal/VOC.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from glip_pl.data.formats.common.checks import (
    MISSING_FILE,
    checked_box,
    file_problem,
    note,
    note_same_names,
)
from glip_pl.data.formats.common.detection_sets import all_names, as_detection
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES, place_images, read_sizes
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record
from glip_pl.data.formats.voc.voc_xml import Picture, picture_tree, read_pictures

# Main holds a list of each split and one of each category in it, "cat_train.txt".
_CATEGORY_LIST = re.compile(r".+_(train|val|trainval|test)")


class Voc(Format):
    """Pascal VOC; boxes keep the decimals that they have."""

    name: ClassVar[str] = "voc"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "crowd"})

    def detect(self, path: Path) -> bool:
        """Tell whether a folder has VOC's lists or pictures beside its annotations."""
        beside = (path / "ImageSets").is_dir() or (path / "JPEGImages").is_dir()
        return (path / "Annotations").is_dir() and beside

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the splits of a folder; "all" where it has no list of pictures.

        Categories are numbered in the order of ``labels.txt``, where there is one, else of their
        names, and pictures in the order of theirs.
        """
        if not self.detect(path):
            raise ValueError(
                f"{str(path)!r} has no folders Annotations and JPEGImages; name the folder that "
                "has them, VOCdevkit/VOC2012 for example"
            )
        lists = _lists(path)
        number = {p: i for i, p in enumerate(sorted({p for ids in lists.values() for p in ids}), 1)}
        sets = {split: AnnotationSet(path / "JPEGImages", []) for split in lists}
        pictures = {s: read_pictures(path, ids, sets[s].problems) for s, ids in lists.items()}
        labels = path / "labels.txt"
        listed = labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else []
        found = {o.name for held in pictures.values() for p in held for o in p.objects}
        names = dict(enumerate(dict.fromkeys((*listed, *sorted(found))), start=1))
        for split, annotation_set in sets.items():
            annotation_set.names.update(names)
            note_same_names(names, annotation_set.problems)
            _fill(annotation_set, pictures[split], number)
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
            (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        labels = "".join(f"{name}\n" for name in all_names(placed.values()))
        (path / "labels.txt").write_text(labels, encoding="utf-8")


def _lists(path: Path) -> dict[str, list[str]]:
    """Read the pictures' ids by split."""
    files = sorted((path / "ImageSets" / "Main").glob("*.txt"))
    files = [file for file in files if not _CATEGORY_LIST.fullmatch(file.stem)]
    if any(file.stem in ("train", "val") for file in files):
        files = [file for file in files if file.stem != "trainval"]
    if not files:
        folder = path / "Annotations"
        found = sorted(folder.rglob("*.xml"))
        return {"all": [file.relative_to(folder).with_suffix("").as_posix() for file in found]}
    lines = {file.stem: file.read_text(encoding="utf-8").splitlines() for file in files}
    return {s: list(dict.fromkeys(x.strip() for x in ids if x.strip())) for s, ids in lines.items()}


def _fill(
    annotation_set: AnnotationSet, pictures: list[Picture], number: Mapping[str, int]
) -> None:
    """Turn pictures into records, sizes that no XML tells taken from the image files."""
    problems, folder = annotation_set.problems, annotation_set.images
    ids = {name: i for i, name in annotation_set.names.items()}
    files = [_image_file(str(folder), picture) for picture in pictures]
    unsized = [f for f, p in zip(files, pictures, strict=True) if f and min(p.size) < 1]
    sizes = dict(zip(unsized, read_sizes([str(folder / f) for f in unsized]), strict=True))
    for file, picture in zip(files, pictures, strict=True):
        if file is None:
            note(problems, MISSING_FILE, f"{picture.picture_id}.jpg")
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
                annotations.append(Annotation(box, ids[thing.name], crowd=thing.difficult))
        record = Record(number[picture.picture_id], file, size, tuple(annotations))
        annotation_set.records.append(record)
        if picture.parts:
            count = annotation_set.unread.get("part", 0) + picture.parts
            annotation_set.unread["part"] = count


def _image_file(folder: str, picture: Picture) -> str | None:
    """Find the file of a picture: by its id, or by the name that the XML gives."""
    own = PurePosixPath(picture.picture_id).with_name(picture.file_name or "none").as_posix()
    names = (f"{picture.picture_id}{suffix}" for suffix in IMAGE_SUFFIXES)
    options = (own, *names) if own.startswith(f"{picture.picture_id}.") else (*names, own)
    return next((name for name in options if file_problem(folder, name) is None), None)
