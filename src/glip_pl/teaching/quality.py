"""The quality gate: how often a teacher is right, by its score, on a slice that people labelled."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from glip_pl.boxes import box_iou
from glip_pl.data.upkeep import read_sets
from glip_pl.prompts.english import DETERMINERS
from glip_pl.teaching.lessons import taught_by

BINS = 10


class Truth:
    """What people drew into some of the images, and how a teacher's boxes stand beside it.

    Args:
        source: Where it is from, for messages.
        boxes: By the absolute path of an image its boxes [G, 4] and what each shows.
    """

    def __init__(self, source: str, boxes: Mapping[str, tuple[Tensor, list[str]]]) -> None:
        self._source, self._boxes = source, boxes
        self._judged: list[tuple[list[float], list[bool]]] = []

    @classmethod
    def read(cls, source: str) -> Self:
        """Read annotations in any form that `glip data check` reads.

        Raises:
            ValueError: They cannot be read.
        """
        boxes: dict[str, tuple[Tensor, list[str]]] = {}
        for found in read_sets(source, None)[1].values():
            for record in found.records:
                caption = record.caption or ""
                shown = [
                    " ".join(caption[start:end] for start, end in annotation.tokens_positive)
                    or found.names.get(annotation.category or 0, "")
                    for annotation in record.annotations
                ]
                sides = torch.tensor([annotation.box for annotation in record.annotations])
                path = os.path.abspath(found.images / record.file_name)
                boxes[path] = (sides.reshape(-1, 4), shown)
        return cls(source, boxes)

    def judge(
        self,
        image: str,
        line: Mapping[str, Any] | None,
        unsure: Sequence[Mapping[str, Any]],
    ) -> None:
        """Look how many boxes of an image are right, where people labelled it.

        Args:
            image: Path of the image.
            line: Its line of training data, if any.
            unsure: The boxes of which the teacher was not sure.
        """
        known = self._boxes.get(os.path.abspath(image))
        if known is None:
            return
        taught = [] if line is None else taught_by(line)
        boxes = [*(r["bbox"] for r in taught), *(r["box"] for r in unsure)]
        found = [*taught, *unsure]
        sides = torch.tensor(boxes).reshape(-1, 4)
        right = right_boxes(sides, [region["phrase"] for region in found], *known)
        self._judged.append(([region["score"] for region in found], right))

    def precision(self) -> list[tuple[float, float, int]]:
        """Compute the share of right boxes per bin of scores; see `precision_by_score`.

        Raises:
            ValueError: No image that was judged has boxes of people.
        """
        if not self._judged:
            raise ValueError(
                f"--truth={self._source} has none of the images; give annotations of some of them"
            )
        return precision_by_score(self._judged)


def precision_by_score(
    judged: Iterable[tuple[Sequence[float], Sequence[bool]]],
) -> list[tuple[float, float, int]]:
    """Compute the share of right boxes per bin of scores.

    Args:
        judged: Per image the scores, and whether each box is right.

    Returns:
        Per bin that has any: its lower edge, the precision, and how many boxes it has.
    """
    counts, hits = [0] * BINS, [0] * BINS
    for scores, right in judged:
        for score, is_right in zip(scores, right, strict=True):
            place = min(int(score * BINS), BINS - 1)
            counts[place] += 1
            hits[place] += is_right
    return [(b / BINS, hits[b] / counts[b], counts[b]) for b in range(BINS) if counts[b]]


def right_boxes(
    boxes: Tensor, phrases: Sequence[str], true_boxes: Tensor, true_phrases: Sequence[str]
) -> list[bool]:
    """Return for each box [D, 4] whether a true box [G, 4] of the same thing lies there."""
    if not len(boxes) or not len(true_boxes):
        return [False] * len(boxes)
    overlap = box_iou(boxes, true_boxes) >= 0.5
    return [
        any(bool(overlap[d, g]) and is_named(phrase, other) for g, other in enumerate(true_phrases))
        for d, phrase in enumerate(phrases)
    ]


def is_named(phrase: str, name: str) -> bool:
    """Whether a phrase of a caption is about a name: "two white pawns" about "pawn"."""
    words, wanted = thing_of(phrase).split(), thing_of(name).split()
    return bool(wanted) and words[-len(wanted) :] == wanted


def thing_of(phrase: str) -> str:
    """Return a phrase without articles and numbers, in small letters and the singular."""
    words = phrase.lower().split()
    while len(words) > 1 and (words[0] in DETERMINERS or words[0].isdigit()):
        del words[0]
    if words and words[-1].endswith("s") and not words[-1].endswith(("ss", "us", "is")):
        words[-1] = words[-1][:-1]
    return " ".join(words)
