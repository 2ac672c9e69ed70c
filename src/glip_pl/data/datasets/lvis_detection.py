"""LVIS: detection data of a large vocabulary, in which an image is labelled for a part of it."""

from pathlib import Path
from typing import ClassVar, Literal

from glip_pl.data.datasets.detection import CategoryDetection
from glip_pl.data.formats import AnnotationSet, Record
from glip_pl.data.formats.coco.coco import Coco
from glip_pl.data.formats.coco.coco_json import read_document
from glip_pl.data.formats.common.values import objects
from glip_pl.data.formats.lvis import Lvis
from glip_pl.metrics import LVISAP, GroundingMetric
from glip_pl.prompts import PromptTemplate

# What LVISAP reads of an annotation; masks would fill the memory.
_JUDGED = ("id", "image_id", "category_id", "bbox", "area")


class LvisDetection(CategoryDetection):
    """Boxes with category names, in the JSON of LVIS v1.

    An image is found by the last two parts of its ``coco_url``, such as
    ``val2017/000000397133.jpg``, below the folder of the images. It is judged for the categories
    that it was labelled for; see `LVISAP`.
    """

    json_format: ClassVar[Coco] = Lvis()

    def __init__(
        self,
        annotations: str,
        images: str = ".",
        *,
        template: PromptTemplate | None = None,
        max_negatives: int = 85,
        fixed_prompt: bool = False,
        ap: Literal["fixed", "standard"] = "fixed",
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: JSON file, relative to the data module's root.
            images: Folder with COCO's ``train2017`` and ``val2017``, relative to the root.
            template: How names become a caption.
            max_negatives: Categories that a training prompt may name and the image does not show.
            fixed_prompt: Whether training, too, names all categories in the order of their ids.
            ap: Whether the best detections of a category ("fixed", which GLIP reports) or of an
                image ("standard") are kept.
        """
        super().__init__(
            annotations,
            images,
            template=template,
            max_negatives=max_negatives,
            fixed_prompt=fixed_prompt,
        )
        self.ap = ap
        self._source = Path(annotations)

    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read LVIS's JSON only, since other forms lack what the metric needs."""
        self._source = source
        return self.read_json(source, folder)

    def labels_of(self, record: Record) -> dict[str, list[int]]:
        """Return the absent categories of an image, and those of which it may show more."""
        return {
            "neg_category_ids": list(record.absent or ()),
            "not_exhaustive_category_ids": list(record.not_exhaustive),
        }

    def make_metric(self) -> GroundingMetric:
        """Make the AP of LVIS, for which the file is read again: it counts all boxes."""
        lists = read_document(self._source).lists
        judged = [
            {key: entry[key] for key in _JUDGED if key in entry}
            for entry in objects(lists["annotations"])
        ]
        whole = {key: list(held) for key, held in lists.items() if key != "annotations"}
        return LVISAP({**whole, "annotations": judged}, protocol=self.ap)
