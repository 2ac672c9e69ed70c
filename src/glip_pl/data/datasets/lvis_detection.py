"""LVIS: detection data of a large vocabulary, in which an image is labelled for a part of it."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from glip_pl.data.datasets.detection import CategoryDetection
from glip_pl.data.formats import AnnotationSet, Record
from glip_pl.data.formats.coco.coco import Coco
from glip_pl.data.formats.common.values import objects, whole_number
from glip_pl.data.formats.lvis import Lvis
from glip_pl.metrics import LVISAP, GroundingMetric
from glip_pl.prompts import PromptTemplate

# What LVISAP reads of an annotation; masks would fill the memory.
_JUDGED = ("id", "image_id", "category_id", "bbox", "area")
_LABELS = ("neg_category_ids", "not_exhaustive_category_ids")


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
        self._judged: dict[str, Any] = {}
        self._labels: dict[int | None, dict[str, list[int]]] = {}

    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read LVIS's JSON only, since other forms lack what the metric needs."""
        return self.read_json(source, folder)

    def take_document(self, document: dict[str, Any], source: Path) -> None:
        """Keep what the metric needs: also the boxes that are left out."""
        annotations = objects(document["annotations"])
        judged = [{k: entry[k] for k in _JUDGED if k in entry} for entry in annotations]
        self._judged = {**document, "annotations": judged}
        self._labels = {
            whole_number(entry.get("id")): {key: entry[key] for key in _LABELS if key in entry}
            for entry in objects(document["images"])
        }

    def labels_of(self, record: Record) -> dict[str, list[int]]:
        """Return the absent categories of an image, and those of which it may show more."""
        return self._labels[record.image_id]

    def make_metric(self) -> GroundingMetric:
        """Make the AP of LVIS."""
        return LVISAP(self._judged, protocol=self.ap)
