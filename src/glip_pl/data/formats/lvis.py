"""LVIS: COCO's JSON for a large vocabulary, of which each image was searched for a part only.

An image lists the categories that are surely not in it (``neg_category_ids``) and those of which it
may show more than its boxes (``not_exhaustive_category_ids``); categories are rare, common or
frequent. Images carry COCO's address instead of a file name. See https://www.lvisdataset.org.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import msgspec

from glip_pl.data.formats.coco.coco import Coco
from glip_pl.data.formats.coco.coco_json import last_parts
from glip_pl.data.formats.coco.listed_images import ImageFields
from glip_pl.data.formats.common.records import AnnotationSet, Record

# Images that show a category: at most 10 make it rare and at most 100 common.
_RARE, _COMMON = 10, 100


class LvisImageFields(ImageFields, gc=False):
    """What a well-formed image entry of LVIS has."""

    coco_url: str | msgspec.UnsetType = msgspec.UNSET
    neg_category_ids: tuple[int, ...] = ()
    not_exhaustive_category_ids: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The name of the file, or the end of its address.

        Raises:
            TypeError: There is neither.
        """
        if self.file_name is msgspec.UNSET and self.coco_url is not msgspec.UNSET:
            return last_parts(self.coco_url, 2)
        return super().name

    @classmethod
    def lists(cls, entries: Sequence[Any]) -> dict[str, Any]:
        """Return the categories known to be absent, and those of which there may be more."""
        return {
            "absent": [entry.neg_category_ids for entry in entries],
            "not_exhaustive": [entry.not_exhaustive_category_ids for entry in entries],
        }


class Lvis(Coco):
    """LVIS; crowds and scores are written as in COCO's JSON, where LVIS' own tools pass over them.

    A set that knows of no absent categories, as COCO's, is written with all categories that an
    image has no box of as absent.
    """

    name: ClassVar[str] = "lvis"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "crowd", "score", "absent"})
    image_fields: ClassVar[type[ImageFields]] = LvisImageFields

    def _is_form(self, ends: bytes) -> bool:
        return b'"neg_category_ids"' in ends or (b'"frequency"' in ends and b'"synset"' in ends)

    def image_record(self, entry: Mapping[str, Any]) -> Record:
        """Read an image's entry; its file is named by the end of its address."""
        if "file_name" not in entry:
            entry = {**entry, "file_name": last_parts(str(entry["coco_url"]), 2)}
        return replace(
            super().image_record(entry),
            absent=tuple(int(i) for i in entry.get("neg_category_ids", ())),
            not_exhaustive=tuple(int(i) for i in entry.get("not_exhaustive_category_ids", ())),
        )

    def entries(self, annotation_set: AnnotationSet) -> dict[str, Iterable[dict[str, Any]]]:
        """Add what images were searched for, and how often categories are seen."""
        lists = super().entries(annotation_set)
        in_images: Counter[int | None] = Counter()
        in_boxes: Counter[int | None] = Counter()

        def images() -> Iterator[dict[str, Any]]:
            for record, entry in zip(annotation_set.records, lists["images"], strict=True):
                shown = Counter(annotation.category for annotation in record.annotations)
                in_images.update(shown.keys())
                in_boxes.update(shown)
                absent = record.absent
                if absent is None:
                    absent = tuple(i for i in annotation_set.names if i not in shown)
                yield entry | {
                    "neg_category_ids": absent,
                    "not_exhaustive_category_ids": record.not_exhaustive,
                }

        def categories() -> Iterator[dict[str, Any]]:  # Walked over last, when all are counted.
            for entry in lists["categories"]:
                count = in_images[entry["id"]]
                counted = "r" if count <= _RARE else "c" if count <= _COMMON else "f"
                yield entry | {
                    "frequency": annotation_set.frequency.get(entry["id"], counted),
                    "image_count": count,
                    "instance_count": in_boxes[entry["id"]],
                }

        return lists | {"images": images(), "categories": categories()}
