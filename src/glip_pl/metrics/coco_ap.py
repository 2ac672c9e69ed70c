"""Detection AP as COCO defines it, with category names, right for any split among processes.

Boxes are rows of tables that are gathered at once; torchmetrics' own mean average precision then
computes on the whole.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from glip_pl.boxes import rescale
from glip_pl.metrics.groups import ABSENT, group_averages
from glip_pl.metrics.tables import TableMetric, with_image
from glip_pl.structures import Detections, Question, Truth

SUMMARY = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


def original_boxes(question: Question, truth: Truth) -> Tensor:
    """Return the true boxes of an image, [G, 4], in xyxy pixels of its file."""
    return rescale(truth.boxes, question.size, question.original_size)


class DetectionAP(TableMetric):
    """COCO's average precision over categories.

    Sizes are box areas in pixels of the image file; COCO's own tables use mask areas. At most 100
    detections of an image and category count. A crowd box is neither to be found nor a false alarm.
    An image is judged for the categories that its prompt names, and for these only.

    Args:
        names: The name of each category id; results are reported for these, and only these occur.
        groups: Category ids whose AP is also averaged among themselves, by the group's name.

    Raises:
        ValueError: A group has a category without a name, or the name of another value.
    """

    tables: ClassVar[Mapping[str, Tensor]] = {
        "found_boxes": torch.zeros(0, 4),
        "found_scores": torch.zeros(0),
        "found_ids": torch.zeros(0, 2, dtype=torch.long),  # image, category
        "true_boxes": torch.zeros(0, 4),
        "true_ids": torch.zeros(0, 3, dtype=torch.long),  # image, category, is crowd
    }
    found_boxes: list[Tensor]
    found_scores: list[Tensor]
    found_ids: list[Tensor]
    true_boxes: list[Tensor]
    true_ids: list[Tensor]

    def __init__(
        self, names: Mapping[int, str], *, groups: Mapping[str, Collection[int]] | None = None
    ) -> None:
        super().__init__()
        self.names = dict(names)
        self.groups = dict(groups or {})
        for name, ids in self.groups.items():
            unnamed = set(ids) - self.names.keys()
            if unnamed:
                raise ValueError(
                    f"the group {name!r} has the category id {min(unnamed)}, which has no name; "
                    "group ids of `names`"
                )
            if f"map_{name}" in SUMMARY:
                raise ValueError(
                    f"a group may not be named {name!r}: map_{name} is already the name of another "
                    "value; choose another name"
                )

    def update(
        self,
        detections: Sequence[Detections],
        questions: Sequence[Question],
        truths: Sequence[Truth],
    ) -> None:
        """Add images; each image of the set must be added once, by one process.

        The arguments are those of `GroundingMetric.update`.

        Raises:
            ValueError: A phrase is none of the named categories.
        """
        for found, question, truth in zip(detections, questions, truths, strict=True):
            unnamed = set(question.phrase_ids.tolist()) - self.names.keys()
            if unnamed:
                raise ValueError(
                    f"the prompt {question.prompt.caption!r} has the category id {min(unnamed)}, "
                    "which has no name; AP needs named categories: use PhraseRecall for free text"
                )
            box, phrase = truth.shows.nonzero().unbind(1)
            image = truth.image_id
            self.found_boxes.append(found.boxes.float())
            self.found_scores.append(found.scores.float())
            self.found_ids.append(with_image(image, question.phrase_ids[found.phrases]))
            self.true_boxes.append(original_boxes(question, truth)[box].float())
            crowd = truth.crowd[box].long()
            self.true_ids.append(with_image(image, question.phrase_ids[phrase], crowd))

    def compute(self) -> dict[str, Tensor]:
        """Average the precision over all images.

        Returns:
            `map` (over IoU 0.5 to 0.95), `map_50`, `map_75`, `map_small`, `map_medium`,
            `map_large`, ``map_<group>`` for every group and ``class/<name>`` for every category: 0
            to 1, or -1 where there is no true box.
        """
        found_boxes, found_scores, found_ids, true_boxes, true_ids = (
            self.table(name).cpu() for name in self.tables
        )
        results = {key: torch.tensor(ABSENT) for key in SUMMARY}
        results |= group_averages({}, self.groups)
        results |= {f"class/{name}": torch.tensor(ABSENT) for name in self.names.values()}
        if not len(true_ids):
            return results

        # The precision table gives the AP of a category at once; class_metrics would evaluate anew
        # for each of them.
        measure = MeanAveragePrecision(
            backend="faster_coco_eval", extended_summary=True, sync_on_compute=False
        )
        measure.warn_on_many_detections = False
        images = torch.unique(torch.cat([found_ids[:, 0], true_ids[:, 0]]))
        found_rows = _rows_per_image(found_ids[:, 0], images)
        true_rows = _rows_per_image(true_ids[:, 0], images)
        size = true_boxes[:, 2:] - true_boxes[:, :2]
        for found, true in zip(found_rows, true_rows, strict=True):
            prediction = {
                "boxes": found_boxes[found],
                "scores": found_scores[found],
                "labels": found_ids[found, 1],
            }
            truth = {
                "boxes": true_boxes[true],
                "labels": true_ids[true, 1],
                "iscrowd": true_ids[true, 2],
                "area": size[true].prod(1),
            }
            measure.update([prediction], [truth])
        computed = measure.compute()
        results |= {key: computed[key] for key in SUMMARY}
        # [IoU, recall, category, area, number of detections]; all areas come first, 100 last.
        precision = computed["precision"][:, :, :, 0, -1]
        per_class = precision.mean(dim=(0, 1)).float()
        averages = dict(zip(computed["classes"].reshape(-1).tolist(), per_class, strict=True))
        results |= group_averages(averages, self.groups)
        results |= {f"class/{self.names[c]}": value for c, value in averages.items()}
        return results


def _rows_per_image(image_ids: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    """Return, for each of the sorted images, the rows that belong to it."""
    position = torch.searchsorted(images, image_ids.contiguous())
    order = position.argsort(stable=True)
    return torch.split(order, position.bincount(minlength=len(images)).tolist())
