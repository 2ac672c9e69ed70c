"""Phrase recall: how often the box of a phrase is among the best guesses."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from glip_pl.boxes import box_iou
from glip_pl.metrics.coco_ap import original_boxes
from glip_pl.metrics.groups import ABSENT
from glip_pl.metrics.metric import GroundingMetric
from glip_pl.structures import Detections, Question, Truth

MIN_IOU = 0.5
ALL_GUESSES = -1

RecallProtocol = Literal["any", "merged"]


def recall_hits(
    guesses: Tensor, truth: Tensor, topk: Sequence[int], protocol: RecallProtocol = "any"
) -> Tensor:
    """Return for which k a phrase is found: one of its k best guesses overlaps its box by a half.

    Args:
        guesses: [D, 4], xyxy pixels in the frame of `truth`, best first.
        truth: [G, 4], the boxes of the phrase; one or more.
        topk: The values of k; -1 takes all guesses.
        protocol: ``"any"``: each box of the phrase will do; ``"merged"``: only the box around all
            of them will.

    Returns:
        Boolean [len(topk)].
    """
    if protocol == "merged":
        truth = torch.cat([truth[:, :2].amin(0), truth[:, 2:].amax(0)])[None]
    right = (box_iou(guesses, truth) >= MIN_IOU).any(1)
    limits = [len(guesses) if k == ALL_GUESSES else k for k in topk]
    return torch.stack([right[:limit].any() for limit in limits])


class PhraseRecall(GroundingMetric):
    """Recall@k of phrase grounding, over all phrases and per type of phrase.

    A phrase counts as found at k when one of its k best detections overlaps its true box by IoU 0.5
    or more. Phrases without a true box do not count. Of a phrase with several boxes either any
    will do, the protocol of MDETR's and GLIP's tables, or only their union; see MDETR, Sec. 4.2
    (https://arxiv.org/abs/2104.12763).

    Args:
        topk: The values of k; -1 takes all detections.
        protocol: What counts as the true box of a phrase with several: ``"any"`` or ``"merged"``.
        types: Types of phrases to report one by one; with none given, types are not looked at.

    Raises:
        ValueError: A k or the protocol is none of those named.
    """

    hits: Tensor
    num_phrases: Tensor

    def __init__(
        self,
        topk: Sequence[int] = (1, 5, 10),
        *,
        protocol: RecallProtocol = "any",
        types: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if protocol not in get_args(RecallProtocol):
            raise ValueError(f'there is no protocol {protocol!r}; choose "any" or "merged"')
        for k in topk:
            if k < 1 and k != ALL_GUESSES:
                raise ValueError(f"topk has {k}; give 1 or more, or {ALL_GUESSES} for all guesses")
        self.topk, self.protocol, self.types = tuple(topk), protocol, tuple(types)
        # Row 0 counts every phrase, the others those of one type.
        hits = torch.zeros(1 + len(self.types), len(self.topk), dtype=torch.long)
        self.add_state("hits", default=hits, dist_reduce_fx="sum")
        self.add_state("num_phrases", default=torch.zeros_like(hits[:, 0]), dist_reduce_fx="sum")

    def update(
        self,
        detections: Sequence[Detections],
        questions: Sequence[Question],
        truths: Sequence[Truth],
    ) -> None:
        """Add images.

        The arguments are those of `GroundingMetric.update`.

        Raises:
            ValueError: A phrase has a type that is none of `types`.
        """
        for found, question, truth in zip(detections, questions, truths, strict=True):
            true_boxes = original_boxes(question, truth).float()
            order = found.scores.argsort(descending=True, stable=True)
            boxes, phrases = found.boxes[order].float(), found.phrases[order]
            shows = truth.shows & ~truth.crowd[:, None]
            for k in shows.any(0).nonzero().flatten().tolist():
                boxes_of_phrase = true_boxes[shows[:, k]]
                rows = self._rows(question, truth, k)
                self.hits[rows] += recall_hits(
                    boxes[phrases == k], boxes_of_phrase, self.topk, self.protocol
                )
                self.num_phrases[rows] += 1

    def compute(self) -> dict[str, Tensor]:
        """Divide.

        Returns:
            ``recall@<k>`` for each k (``recall@all`` for -1), ``recall@<k>/<type>`` for each type,
            all between 0 and 1 or -1 without such phrases, and `num_phrases`.
        """
        recalls = torch.where(
            self.num_phrases[:, None] > 0, self.hits / self.num_phrases[:, None], ABSENT
        )
        named = {
            f"recall@{'all' if k == ALL_GUESSES else k}{suffix}": recalls[row, column]
            for row, suffix in enumerate(["", *(f"/{name}" for name in self.types)])
            for column, k in enumerate(self.topk)
        }
        return {**named, "num_phrases": self.num_phrases[0]}

    def _rows(self, question: Question, truth: Truth, k: int) -> list[int]:
        """Return the rows of the counts that phrase k goes into."""
        types = set(truth.phrase_types[k]) if self.types and truth.phrase_types else set()
        unknown = types.difference(self.types)
        if unknown:
            raise ValueError(
                f"the phrase {question.prompt.phrases[k]!r} has the type {min(unknown)!r}, but "
                f"this metric counts {', '.join(self.types)}; add it to `types`"
            )
        return [0, *(1 + self.types.index(name) for name in types)]
