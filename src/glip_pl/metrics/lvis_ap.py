"""AP of a large vocabulary as LVIS defines it, where only some categories of an image are labelled.

LVIS is *federated*: for each image it lists the categories that are there (they have boxes), those
that were looked for and are absent, and those of which not every object has a box. A category is
judged only in the images that were labelled for it, and where its boxes are incomplete a detection
that meets none of them is no mistake. See LVIS (https://arxiv.org/abs/1908.03195).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from glip_pl.metrics.coco_ap import SUMMARY
from glip_pl.metrics.groups import ABSENT, group_averages
from glip_pl.metrics.tables import TableMetric, with_image
from glip_pl.structures import Detections, Question, Truth

# The default limits: per category over the whole set, and per image over all categories.
LIMITS = {"fixed": 10_000, "standard": 300}
FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
# After so many new detections those beyond the limits are dropped, or they would fill the memory.
_PRUNE_EVERY = 1_000_000


class LVISAP(TableMetric):
    """LVIS's average precision over categories, for boxes.

    The truth is read from LVIS's own JSON, not from what `update` is given: sizes are mask areas
    there, and a vocabulary that takes several prompts may show an image once for each of them. Only
    images that were given to `update` count.

    Args:
        annotations: The JSON of an LVIS set, as read.
        protocol: ``"fixed"`` keeps the best detections of each category over the whole set, so
            that categories do not compete for room: the fixed AP that GLIP reports, from
            https://arxiv.org/abs/2102.01066. ``"standard"`` keeps the best of each image.
        max_detections: How many to keep of a category or image; 10,000 or 300 by default.

    Attributes:
        groups: The category ids that are rare, common and frequent among the training images.

    Raises:
        ValueError: The JSON is not LVIS's, there is no such protocol, or nothing would be kept.
    """

    tables: ClassVar[Mapping[str, Tensor]] = {
        "found_boxes": torch.zeros(0, 4),
        "found_scores": torch.zeros(0),
        "found_ids": torch.zeros(0, 2, dtype=torch.long),  # image, category
        "image_ids": torch.zeros(0, dtype=torch.long),
    }
    found_boxes: list[Tensor]
    found_scores: list[Tensor]
    found_ids: list[Tensor]
    image_ids: list[Tensor]

    def __init__(
        self,
        annotations: Mapping[str, Any],
        *,
        protocol: Literal["fixed", "standard"] = "fixed",
        max_detections: int | None = None,
    ) -> None:
        super().__init__()
        if protocol not in LIMITS:
            raise ValueError(f'there is no protocol {protocol!r}; choose "fixed" or "standard"')
        if max_detections is not None and max_detections < 1:
            raise ValueError(f"max_detections is {max_detections}; give 1 or more")
        self.protocol = protocol
        self.max_detections = max_detections or LIMITS[protocol]
        self._read(annotations)

    def _read(self, annotations: Mapping[str, Any]) -> None:
        """Sort the annotations by category, without masks."""
        self._labelled: dict[int, set[int]] = defaultdict(set)
        self._incomplete: dict[int, set[int]] = defaultdict(set)
        self._truth: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            self._frequency = {
                c["id"]: FREQUENCIES[c["frequency"]] for c in annotations["categories"]
            }
            self.groups = {
                name: [i for i, frequency in self._frequency.items() if frequency == name]
                for name in FREQUENCIES.values()
            }
            self._known = {image["id"] for image in annotations["images"]}
            for image in annotations["images"]:
                for category in image["neg_category_ids"]:
                    self._labelled[category].add(image["id"])
                for category in image["not_exhaustive_category_ids"]:
                    self._incomplete[category].add(image["id"])
            for entry in annotations["annotations"]:
                kept = {key: entry[key] for key in ("image_id", "category_id", "bbox", "area")}
                self._truth[entry["category_id"]].append(kept)
                self._labelled[entry["category_id"]].add(entry["image_id"])
        except KeyError as error:
            raise ValueError(
                f"the annotations are not in the form of LVIS v1: {error} is missing or unknown; "
                "use DetectionAP for data in which every category of every image is labelled"
            ) from error

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._num_new = 0

    def update(
        self,
        detections: Sequence[Detections],
        questions: Sequence[Question],
        truths: Sequence[Truth],
    ) -> None:
        """Add images; each image must be added once, or once with each of its prompts.

        Args:
            detections: What was found, per image; `phrases` point into the question's prompt.
            questions: For the ids of categories.
            truths: For the ids of images; boxes are not looked at.

        Raises:
            ValueError: An image or a category is none of the annotations.
        """
        for found, question, truth in zip(detections, questions, truths, strict=True):
            unknown = set(question.phrase_ids.tolist()) - self._frequency.keys()
            if unknown or truth.image_id not in self._known:
                what = f"category {min(unknown)}" if unknown else f"image {truth.image_id}"
                raise ValueError(
                    f"the LVIS annotations have no {what}, which was evaluated; evaluate the set "
                    "that the annotations are of"
                )
            ids = with_image(truth.image_id, question.phrase_ids[found.phrases])
            self.found_boxes.append(found.boxes.float())
            self.found_scores.append(found.scores.float())
            self.found_ids.append(ids)
            self.image_ids.append(torch.tensor([truth.image_id], device=ids.device))
            self._num_new += len(ids)
        if self._num_new > _PRUNE_EVERY:
            boxes, scores, ids = self._kept()
            self.found_boxes, self.found_scores, self.found_ids = [boxes], [scores], [ids]
            self._num_new = 0

    def compute(self) -> dict[str, Tensor]:
        """Average the precision over all images.

        Returns:
            `map` (over IoU 0.5 to 0.95), `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`
            and `map_rare`, `map_common`, `map_frequent` by how many training images show a
            category: 0 to 1, or -1 where there is no true box.
        """
        boxes, scores, ids = (kept.cpu().double() for kept in self._kept())
        size = boxes[:, 2:] - boxes[:, :2]
        rows = torch.cat([ids[:, :1], boxes[:, :2], size, scores[:, None], ids[:, 1:]], 1).numpy()
        rows = rows[rows[:, -1].argsort(kind="stable")]
        seen = set(self.table("image_ids").tolist())
        curves = {}
        for category in self._frequency:
            truth = [entry for entry in self._truth[category] if entry["image_id"] in seen]
            if truth:
                images = self._labelled[category] & seen
                first, end = np.searchsorted(rows[:, -1], [category, category + 1])
                found = rows[first:end]
                found = found[np.isin(found[:, 0], list(images))]
                incomplete = self._incomplete[category]
                curves[category] = _average_precision(truth, found, images, incomplete)
        averages = {c: torch.from_numpy(curve[:, 0]).mean() for c, curve in curves.items()}
        return _summary(np.array([*curves.values()])) | group_averages(averages, self.groups)

    def _kept(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes [n, 4], scores [n] and ids [n, 2] within the limits.

        The lower image id decides between equal scores, so that it does not matter which process
        saw which image.
        """
        boxes, scores, ids = (
            self.table(name) for name in ("found_boxes", "found_scores", "found_ids")
        )
        order = ids[:, 0].argsort(stable=True)
        group = ids[order, 1 if self.protocol == "fixed" else 0]
        order = order[_best_of_each(group, scores[order], self.max_detections)]
        return boxes[order], scores[order], ids[order]


def _best_of_each(group: Tensor, scores: Tensor, limit: int) -> Tensor:
    """Return the rows of the `limit` best scores of each group, best first; ties go by row."""
    order = scores.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    counts = torch.unique_consecutive(group[order], return_counts=True)[1]
    start = (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.arange(len(order), device=order.device) - start
    return order[rank < limit]


def _average_precision(
    truth: Sequence[Mapping[str, Any]], found: np.ndarray, images: set[int], incomplete: set[int]
) -> np.ndarray:
    """Evaluate one category.

    Args:
        truth: Its annotations, at least one, boxes as xywh.
        found: Its detections [n, 7]: image, xywh, score and category.
        images: The images that are labelled for it.
        incomplete: Those where not all of its objects have boxes.

    Returns:
        AP [10, 4] for IoU 0.5 to 0.95 and for all, small, medium and large objects; -1 where there
        is no such object.
    """
    category = truth[0]["category_id"]
    document = {
        "images": [
            {
                "id": i,
                "neg_category_ids": [category],
                "not_exhaustive_category_ids": [category] if i in incomplete else [],
            }
            for i in sorted(images)
        ],
        "annotations": [{**entry, "id": n, "iscrowd": 0} for n, entry in enumerate(truth, start=1)],
        "categories": [{"id": category, "frequency": "f"}],
    }
    coco = COCO(document)
    evaluation = COCOeval_faster(coco, coco.loadRes(found), "bbox", lvis_style=True)
    evaluation.params.maxDets = [max(len(found), 1)]
    evaluation.evaluate()
    evaluation.accumulate()
    # [IoU, recall, category, area, number of detections]
    averages: np.ndarray = evaluation.eval["precision"][:, :, 0, :, 0].mean(axis=1)
    return averages


def _summary(curves: np.ndarray) -> dict[str, Tensor]:
    """Average the AP of categories, [category, IoU, area]."""
    curves = curves.reshape(-1, 10, 4)
    every = curves[:, :, 0]
    parts = [every, every[:, 0], every[:, 5], *(curves[:, :, area] for area in (1, 2, 3))]
    defined = [values[values > ABSENT] for values in parts]
    return {
        name: torch.tensor(values.mean() if values.size else ABSENT, dtype=torch.float64)
        for name, values in zip(SUMMARY, defined, strict=True)
    }
