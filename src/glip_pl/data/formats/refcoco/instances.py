"""``instances.json`` of the referring expressions: COCO's images and boxes, found by their ids."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import Box, Problems, name_of
from glip_pl.data.formats.coco import entries
from glip_pl.data.formats.coco.coco_json import box_entry, image_entry, read_document
from glip_pl.data.formats.coco.listed_images import named_images, without_repeats
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.data.formats.common.values import objects, whole_number

NO_ID = "annotation without an id"
AMBIGUOUS = "annotation id of several boxes, which a reference may all mean"


@dataclass(frozen=True)
class Instances:
    """Images and boxes by id.

    Attributes:
        images: Of each image id; without boxes.
        boxes: Image id and box of each annotation id, without a phrase.
        names: Of each category id.
    """

    images: dict[int, Record]
    boxes: dict[int, tuple[int, Annotation]]
    names: dict[int, str]


def read_instances(source: Path, problems: Problems) -> Instances:
    """Read the file; of ids that are used twice, nothing is read.

    Args:
        source: The file.
        problems: Gains the images and boxes that are left out.

    Raises:
        ValueError: It is missing, or not in COCO's form.
    """
    lists = read_document(source).lists
    names = checks.names_by_id(objects(lists["categories"]), problems)
    named = named_images(lists["images"], problems, entries.image_record)
    images = {record.image_id: record for record in without_repeats(named, problems)}
    known = set(named.image_ids.tolist())
    annotations = objects(lists["annotations"])
    uses = Counter(whole_number(entry.get("id")) for entry in annotations)
    boxes = {}
    for record, entry, box in entries.boxes_of(annotations, known, images, problems, names):
        annotation_id = whole_number(entry.get("id"))
        if annotation_id is None:
            note(problems, NO_ID, name_of(entry))
        elif uses[annotation_id] > 1:
            note(problems, AMBIGUOUS, name_of(entry))
        elif box is not None:
            boxes[annotation_id] = (record.image_id, box)
    return Instances(images, boxes, names)


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
        """Return the id of a record's image, which counts from 1."""
        if record.file_name not in self._images:
            image_id = self._images[record.file_name] = len(self._images) + 1
            self.document["images"].append(image_entry(record, image_id))
        return self._images[record.file_name]

    def annotation_id(self, annotation: Annotation, image_id: int) -> tuple[int, int]:
        """Return the id of a box, which counts from 1, and its category."""
        category = self._free if annotation.category is None else annotation.category
        key = (image_id, annotation.box, category, annotation.crowd)
        if key not in self._boxes:
            annotation_id = self._boxes[key] = len(self._boxes) + 1
            entry = {"id": annotation_id, "image_id": image_id, **box_entry(annotation)}
            self.document["annotations"].append(entry | {"category_id": category})
        return self._boxes[key], category
