"""``instances.json`` of the referring expressions: COCO's images and boxes, found by their ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import Box, Problems, read_annotations
from glip_pl.data.formats.coco.coco_json import box_entry, image_entry
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.data.formats.common.values import (
    WRONG,
    corners,
    is_true,
    objects,
    size_of,
    whole_number,
)

NO_ID = "annotation without an id"


@dataclass(frozen=True)
class Instances:
    """Images and boxes by id.

    Attributes:
        images: File name and (height, width) of each image id.
        boxes: Of each annotation id, without a phrase.
        names: Of each category id.
    """

    images: dict[int, tuple[str, tuple[int, int]]]
    boxes: dict[int, Annotation]
    names: dict[int, str]


def read_instances(source: Path, problems: Problems) -> Instances:
    """Read the file.

    Args:
        source: The file.
        problems: Gains the images and boxes that are left out.

    Raises:
        ValueError: It is missing, or not in COCO's form.
    """
    document = read_annotations(source, ("images", "annotations", "categories"))
    names = checks.names_by_id(document["categories"], problems)
    images: dict[int, tuple[str, tuple[int, int]]] = {}
    for position, entry in enumerate(objects(document["images"])):
        try:
            size = size_of(entry)
            images[int(entry["id"])] = (str(entry["file_name"]), size)
        except WRONG:
            note(problems, checks.NO_RECORD, f"image {position} of {source.name}")
    boxes = {}
    for position, entry in enumerate(objects(document["annotations"])):
        annotation_id = whole_number(entry.get("id"))
        found, kind = _instance(entry, images, names)
        if annotation_id is None:
            kind = NO_ID
        elif found is not None:
            boxes[annotation_id] = found
        named = position if annotation_id is None else annotation_id
        note(problems, kind, f"annotation {named} of {source.name}")
    return Instances(images, boxes, names)


def _instance(
    entry: Mapping[str, Any],
    images: Mapping[int, tuple[str, tuple[int, int]]],
    names: Mapping[int, str],
) -> tuple[Annotation | None, str | None]:
    """Read a box, or tell what is wrong; both when it is clipped."""
    image_id = whole_number(entry.get("image_id"))
    category = whole_number(entry.get("category_id"))
    if image_id is None or image_id not in images:
        return None, checks.UNKNOWN_IMAGE
    if category not in names:
        return None, checks.UNKNOWN_CATEGORY
    box, kind = checks.checked_box(corners(entry.get("bbox")), images[image_id][1])
    if box is None:
        return None, kind
    return Annotation(box, category, crowd=is_true(entry.get("iscrowd", 0))), kind


class InstanceWriter:
    """Collects the images and boxes of records, each once.

    Attributes:
        document: The JSON so far.
    """

    def __init__(self, sets: Mapping[str, AnnotationSet]) -> None:
        names = {i: name for s in sets.values() for i, name in s.names.items()}
        # A box that shows a phrase only has no category, and COCO's form asks for one.
        self._free = max(names, default=0) + 1
        annotations = [a for s in sets.values() for r in s.records for a in r.annotations]
        if any(annotation.category is None for annotation in annotations):
            names[self._free] = "object"
        self.document: dict[str, list[dict[str, Any]]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": name} for i, name in sorted(names.items())],
        }
        self._images: dict[str, int] = {}
        self._boxes: dict[tuple[int, Box, int, bool], int] = {}

    def image_id(self, record: Record) -> int:
        """Give the id of a record's image, which counts from 1."""
        if record.file_name not in self._images:
            image_id = self._images[record.file_name] = len(self._images) + 1
            self.document["images"].append(image_entry(record, image_id))
        return self._images[record.file_name]

    def annotation_id(self, annotation: Annotation, image_id: int) -> tuple[int, int]:
        """Give the id of a box, which counts from 1, and its category."""
        category = self._free if annotation.category is None else annotation.category
        key = (image_id, annotation.box, category, annotation.crowd)
        if key not in self._boxes:
            annotation_id = self._boxes[key] = len(self._boxes) + 1
            entry = {"id": annotation_id, "image_id": image_id, **box_entry(annotation)}
            self.document["annotations"].append(entry | {"category_id": category})
        return self._boxes[key], category
