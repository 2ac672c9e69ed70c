"""Phrase recall: how often the box of a phrase is among the best guesses."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_iou

from glip_pl.data.batch import Target
from glip_pl.metrics.detection import ABSENT, original_boxes
from glip_pl.postprocess import Detections

MIN_IOU = 0.5


class PhraseRecall(Metric):
    """Recall@k of phrase grounding by the any-box protocol.

    A phrase counts as found at k when one of its k best detections overlaps one of its true boxes
    by IoU 0.5 or more. Phrases without a true box do not count. See MDETR, Sec. 4.2
    (https://arxiv.org/abs/2104.12763).

    Args:
        topk: The values of k.
    """

    hits: Tensor
    num_phrases: Tensor

    def __init__(self, topk: Sequence[int] = (1, 5, 10)) -> None:
        super().__init__()
        self.topk = tuple(topk)
        hits = torch.zeros(len(self.topk), dtype=torch.long)
        self.add_state("hits", default=hits, dist_reduce_fx="sum")
        self.add_state("num_phrases", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, detections: Sequence[Detections], targets: Sequence[Target]) -> None:
        """Add images.

        Args:
            detections: What was found, per image; `phrases` point into the target's prompt.
            targets: What is there, per image.
        """
        limits = torch.tensor(self.topk, device=self.hits.device)
        for found, target in zip(detections, targets, strict=True):
            true_boxes = original_boxes(target)
            order = found.scores.argsort(descending=True, stable=True)
            boxes, phrases = found.boxes[order], found.phrases[order]
            shows = target.shows & ~target.crowd[:, None]
            for k in shows.any(0).nonzero().flatten().tolist():
                guesses = boxes[phrases == k][: max(self.topk)]
                overlap = box_iou(guesses.float(), true_boxes[shows[:, k]].float())
                right = (overlap >= MIN_IOU).any(1).nonzero().flatten()
                self.num_phrases += 1
                if len(right):
                    self.hits += right[0] < limits

    def compute(self) -> dict[str, Tensor]:
        """Divide.

        Returns:
            ``recall@k`` for each k, between 0 and 1 or -1 without any phrase, and `num_phrases`.
        """
        recalls = self.hits / self.num_phrases if self.num_phrases else self.hits * 0 + ABSENT
        named = {f"recall@{k}": value for k, value in zip(self.topk, recalls, strict=True)}
        return {**named, "num_phrases": self.num_phrases}
