"""Referring expressions: sentences that speak of one thing, of several or of nothing in the image.

Each image of a set is one sentence. Its phrases are taken together: a detection of any of them is
one of the sentence, and the true boxes are those of all of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glip_pl.boxes import box_iou
from glip_pl.metrics.coco_ap import original_boxes
from glip_pl.metrics.groups import ABSENT
from glip_pl.metrics.metric import GroundingMetric
from glip_pl.structures import Detections, Question, Truth

MIN_IOU = 0.5


def _true_boxes(question: Question, truth: Truth) -> Tensor:
    """Return the boxes that any phrase of the sentence shows, [G, 4]; crowds count like others."""
    return original_boxes(question, truth)[truth.shows.any(1)].float()


def _ratio(hits: Tensor, of: Tensor) -> Tensor:
    return torch.where(of > 0, hits / of, ABSENT)


class ReferringAccuracy(GroundingMetric):
    """Share of the sentences whose best detection overlaps their box by IoU 0.5 or more.

    This is the accuracy of RefCOCO, RefCOCO+ and RefCOCOg, also called precision@1
    (https://arxiv.org/abs/1608.00272). Of a sentence with several boxes any will do; one without a
    box does not count.
    """

    hits: Tensor
    num_sentences: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("hits", "num_sentences"):
            self.add_state(name, default=torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        detections: Sequence[Detections],
        questions: Sequence[Question],
        truths: Sequence[Truth],
    ) -> None:
        """Add sentences."""
        for found, question, truth in zip(detections, questions, truths, strict=True):
            true_boxes = _true_boxes(question, truth)
            if len(true_boxes):
                best = found.boxes[found.scores.argsort(descending=True, stable=True)[:1]]
                self.hits += (box_iou(best.float(), true_boxes) >= MIN_IOU).any()
                self.num_sentences += 1

    def compute(self) -> dict[str, Tensor]:
        """Divide.

        Returns:
            `accuracy`, between 0 and 1 or -1 without sentences, and `num_sentences`.
        """
        return {
            "accuracy": _ratio(self.hits, self.num_sentences),
            "num_sentences": self.num_sentences,
        }


class GeneralizedReferring(GroundingMetric):
    """How often exactly the boxes of a sentence are found, which may be several or none at all.

    The metrics of gRefCOCO (https://arxiv.org/abs/2308.16182): detections of at least the threshold
    are matched one to one with the true boxes, the best overlap first, as far as they overlap by
    IoU 0.5 or more. A sentence is right when F1 = 2 TP / (2 TP + FP + FN) is 1; one without a box
    is right when nothing is detected. The code that came with the data overlaps boxes by their
    generalized IoU instead, which is never larger: near the limit it is a little stricter.

    Args:
        score_threshold: Detections with a lower score do not count; the published 0.7 is of a model
            with other scores, so choose it on validation data.
    """

    counts: Tensor

    def __init__(self, score_threshold: float = 0.7) -> None:
        super().__init__()
        self.score_threshold = score_threshold
        # Rows: sentences without and with boxes; columns: all, right, with a detection.
        counts = torch.zeros(2, 3, dtype=torch.long)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    def update(
        self,
        detections: Sequence[Detections],
        questions: Sequence[Question],
        truths: Sequence[Truth],
    ) -> None:
        """Add sentences."""
        for found, question, truth in zip(detections, questions, truths, strict=True):
            guesses = found.boxes[found.scores >= self.score_threshold].float()
            true_boxes = _true_boxes(question, truth)
            # F1 is 1 when there is neither a false alarm nor a miss.
            right = len(guesses) == len(true_boxes) == _matches(guesses, true_boxes)
            seen = torch.tensor([1, right, len(guesses) > 0], device=self.counts.device)
            self.counts[int(len(true_boxes) > 0)] += seen

    def compute(self) -> dict[str, Tensor]:
        """Divide.

        Returns:
            `precision`, the share of right sentences; `n_acc`, the share of the sentences without a
            box where nothing is detected; `t_acc`, of those with boxes where something is; between
            0 and 1 or -1 without such sentences; and `num_sentences`.
        """
        everything = self.counts.sum(0)
        none, some = self.counts
        return {
            "precision": _ratio(everything[1], everything[0]),
            "n_acc": _ratio(none[0] - none[2], none[0]),
            "t_acc": _ratio(some[2], some[0]),
            "num_sentences": everything[0],
        }


def _matches(guesses: Tensor, truth: Tensor) -> int:
    """Count the pairs when the best overlap is matched first and each box once."""
    overlap = box_iou(guesses, truth)
    pairs = 0
    while overlap.numel() and overlap.max() >= MIN_IOU:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row], overlap[:, column] = -1.0, -1.0
        pairs += 1
    return pairs
