"""CVAT for images 1.1: one XML for all images, whose ``subset`` is their split.

Outlines, masks and ellipses give the box around them. Lines, points and tags show no area and are
counted as not read. The images lie in ``images`` beside the file, or have their names in folders.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.detection_sets import all_names, as_detection, folder_split
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.paths import ImageFolder, sources
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record
from glip_pl.data.formats.common.text_files import decode, is_readable
from glip_pl.data.formats.common.values import WRONG, size_of, whole_number
from glip_pl.data.formats.cvat.cvat_xml import SHAPES, TAIL, head, image_text, shape_corners
from glip_pl.data.formats.voc.voc_xml import read_xml

NO_LABEL = "shape without a label"
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
        files = sources(path, (".xml",), _is_cvat, needed=self.name)
        sets: dict[str, AnnotationSet] = {}
        for split, file in files.items():
            for subset, found in _read_file(file).items():
                name = subset or split
                if name in sets:
                    raise ValueError(
                        f"{str(path)!r} has the subset {name!r} in several files; pass one of them"
                    )
                sets[name] = found
        return sets

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


def _read_file(file: Path) -> dict[str, AnnotationSet]:
    """Read the images of a file by subset, "" where they have none."""
    try:
        root = read_xml(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(file)!r}: {error}; export it again"
        ) from error
    images = list(root.iter("image"))
    if not images and next(root.iter("track"), None) is not None:
        raise ValueError(
            f"{str(file)!r} is of a video, whose frames are no files; export it from CVAT as "
            '"CVAT for images 1.1", or as COCO'
        )
    problems: Problems = {}
    unread: Counter[str] = Counter()
    listed = [(tag.text or "").strip() for tag in root.iterfind("meta//label/name")]
    used = sorted({s.get("label", "") for image in images for s in _shapes(image, Counter())})
    readable = (name for name in (*listed, *used) if name and is_readable(name))
    names = dict(enumerate(dict.fromkeys(readable), start=1))
    checks.note_same_names(names, problems)
    ids = {name: number for number, name in names.items()}
    folder = ImageFolder.near(file, [image.get("name", "") for image in images], problems)
    numbers = [whole_number(image.get("id")) for image in images]
    own_ids = None not in numbers and len(set(numbers)) == len(numbers)
    by_subset: dict[str, list[Record]] = {}
    for place, (image, number) in enumerate(zip(images, numbers, strict=True), start=1):
        try:
            size = size_of(image.attrib)
            found = folder.find(image.attrib["name"])
        except WRONG:
            note(problems, checks.NO_RECORD, f"image {place} of the file")
            continue
        if found is not None:
            boxes = tuple(_boxes(image, size, ids, problems, unread))
            record = Record(number if own_ids and number is not None else place, found, size, boxes)
            subset = image.get("subset", "")
            split = folder_split(subset.lower()) or subset
            by_subset.setdefault("" if split.lower() == "default" else split, []).append(record)
    kept = {split: folder.certain(records) for split, records in by_subset.items()} or {"": []}
    # What is wrong with the file is told once, of its first split.
    return {
        split: AnnotationSet(
            *(folder.path, records, names),
            problems={} if place else problems,
            unread={} if place else dict(+unread),
        )
        for place, (split, records) in enumerate(kept.items())
    }


def _shapes(image: Element, unread: Counter[str]) -> Iterator[Element]:
    for shape in image:
        if shape.tag in SHAPES:
            yield shape
        else:
            unread[shape.tag] += 1


def _boxes(
    image: Element,
    size: tuple[int, int],
    ids: Mapping[str, int],
    problems: Problems,
    unread: Counter[str],
) -> Iterator[Annotation]:
    for shape in _shapes(image, unread):
        corners, beyond = shape_corners(shape)
        box, kind = checked_box(corners, size)
        label = shape.get("label", "")
        where = f"{label!r} of {image.get('name')}: {list(corners)}"
        note(problems, kind, where)
        if label not in ids:
            note(problems, NO_LABEL, where)
        elif box is not None:
            if beyond is not None:
                unread[beyond] += 1
            yield Annotation(box, ids[label])
