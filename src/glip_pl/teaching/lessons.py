"""From what a teacher found to a line of training data: two thresholds, and where each box is from.

Boxes above `keep` are taken for true. Those between `ignore` and `keep` are written as crowds: no
box to learn, and no region there is a negative for the phrase. Where all boxes of a phrase are
such, its words are cut out of the caption. Below `ignore` a box is no box. See GLIP, Sec. 3.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glip_pl.boxes import box_iou
from glip_pl.prompts import Prompt, Span

_DIGITS = 3  # So that the same input gives the same bytes wherever it is computed.


@dataclass(frozen=True)
class Rule:
    """Which boxes teach.

    Attributes:
        keep: Least score of a box that is taken for true.
        ignore: Least score of a box that is not taken for nothing.
        most_boxes: Boxes of an image at most, the best.
        nms_iou: Of two boxes of one phrase that overlap more, the lower is a duplicate.
        best_only: Whether a thing has the best of its phrases only.
        ensemble: Whether each image is asked twice; see `glip_pl.teaching.ensemble`.
    """

    keep: float = 0.5
    ignore: float = 0.3
    most_boxes: int = 20
    nms_iou: float = 0.6
    best_only: bool = True
    ensemble: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ignore <= self.keep <= 1:
            raise ValueError(
                f"--ignore={self.ignore} and --keep={self.keep} must rise from 0 to 1, for "
                "example 0.3 and 0.5"
            )


@dataclass(frozen=True)
class Found:
    """What a teacher found of one caption.

    Attributes:
        boxes: [D, 4], xyxy pixels of the image file, best first.
        scores: [D].
        phrases: [D], index into the caption's phrases.
    """

    boxes: Tensor
    scores: Tensor
    phrases: Tensor


@dataclass(frozen=True)
class Region:
    """A box of a teacher.

    Attributes:
        box: xyxy, pixels of the image file.
        phrase: What it shows.
        score: How sure the teacher is.
        spans: The characters of the lesson's caption that name it; none of a withheld phrase.
    """

    box: tuple[float, ...]
    phrase: str
    score: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """One image for the student.

    Attributes:
        caption: The sentence without the words of withheld phrases.
        regions: Boxes that are taken for true.
        unsure: Boxes of the same phrases that may be.
        withheld: Phrases of which the teacher was sure of no box.
    """

    caption: str
    regions: tuple[Region, ...]
    unsure: tuple[Region, ...]
    withheld: tuple[str, ...]

    def line(
        self, file_name: str, size: tuple[int, int], teacher: dict[str, Any]
    ) -> dict[str, Any]:
        """Return a line of ODVG, with what made it.

        Args:
            file_name: Of the image.
            size: (height, width) in pixels.
            teacher: Hash of the weights, thresholds and version.
        """
        regions = [
            {
                "bbox": list(region.box),
                "phrase": region.phrase,
                "tokens_positive": [list(span) for span in region.spans],
                "score": region.score,
                **({"iscrowd": 1} if region in self.unsure else {}),
            }
            for region in (*self.regions, *self.unsure)
        ]
        return {
            "filename": file_name,
            "height": size[0],
            "width": size[1],
            "grounding": {"caption": self.caption, "regions": regions},
            "teacher": {**teacher, "withheld": list(self.withheld)},
        }


def taught_by(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the regions of a line that are taken for true."""
    return [region for region in line["grounding"]["regions"] if not region.get("iscrowd")]


def lesson_of(prompt: Prompt, found: Found, rule: Rule) -> tuple[Lesson | None, tuple[Region, ...]]:
    """Decide what one image teaches.

    Returns:
        The lesson, or None where no box is sure; and the boxes of which the teacher was not sure.
    """
    scores = [round(score, _DIGITS) for score in found.scores.tolist()]
    single = [d for d in _without_duplicates(found, rule.nms_iou) if scores[d] >= rule.ignore]
    phrase_of = found.phrases.tolist()
    kept = [d for d in single if scores[d] >= rule.keep]
    unsure = [d for d in single if scores[d] < rule.keep]
    withheld = {phrase_of[d] for d in unsure} - {phrase_of[d] for d in kept}
    caption, spans = without_phrases(prompt, withheld)

    def regions(chosen: Sequence[int]) -> tuple[Region, ...]:
        return tuple(
            Region(
                tuple(round(side, _DIGITS) for side in found.boxes[d].tolist()),
                prompt.phrases[phrase_of[d]],
                scores[d],
                spans.get(phrase_of[d], ()),
            )
            for d in chosen
        )

    maybe = regions(unsure)
    if not kept:
        return None, maybe
    named = tuple(region for region in maybe if region.spans)
    lost = tuple(prompt.phrases[k] for k in sorted(withheld))
    return Lesson(caption, regions(kept[: rule.most_boxes]), named, lost), maybe


def without_phrases(prompt: Prompt, withheld: set[int]) -> tuple[str, dict[int, tuple[Span, ...]]]:
    """Cut phrases out of a caption; return it with the spans of the others, by their index."""
    gone = sorted(span for k in withheld for span in prompt.tokens_positive[k])
    caption, last = "", 0
    for start, end in gone:
        caption += prompt.caption[last:start]
        last = end
    caption += prompt.caption[last:]

    def moved(position: int) -> int:
        return position - sum(end - start for start, end in gone if end <= position)

    return caption, {
        k: tuple((moved(a), moved(b)) for a, b in spans)
        for k, spans in enumerate(prompt.tokens_positive)
        if k not in withheld
    }


def _without_duplicates(found: Found, iou: float) -> Sequence[int]:
    """Keep the best of boxes of one phrase on one thing, in the order of their scores."""
    kept: list[int] = []
    for d in found.scores.argsort(descending=True, stable=True).tolist():
        same = [k for k in kept if found.phrases[k] == found.phrases[d]]
        overlap = box_iou(found.boxes[d : d + 1], found.boxes[torch.tensor(same, dtype=torch.long)])
        if not same or float(overlap.max()) <= iou:
            kept.append(d)
    return kept
