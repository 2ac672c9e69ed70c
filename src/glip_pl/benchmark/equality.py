"""Whether two arrangements of a model compute the same."""

from dataclasses import dataclass

import torch
from torch import Tensor

from glip_pl.benchmark.workload import Result
from glip_pl.structures import Detections

# Detections are the same when no side of the boxes is further apart, in pixels, and no score.
_BOX, _SCORE = 0.05, 1e-3


@dataclass(frozen=True)
class Comparison:
    """How far two results are apart.

    Attributes:
        values: Largest difference of logits or losses, as a share of the largest.
        boxes: Largest difference of a side of a box, in pixels.
        detections: How many boxes the first found.
        unmatched: How many of either have no partner in the other; None where the prompts differ.
    """

    values: float
    boxes: float
    detections: int
    unmatched: int | None

    def lines(self) -> list[str]:
        """Return it in words."""
        found = [
            f"logits, or losses, differ by at most {self.values:.1e} of the largest; "
            f"sides of boxes by at most {self.boxes:.1e} pixels"
        ]
        if self.unmatched is not None:
            found.append(
                f"{self.detections} detections, {self.unmatched} of them not in the other "
                f"(within {_BOX} pixels and {_SCORE} of the score)"
            )
        return found


def compare(first: Result, second: Result) -> Comparison:
    """Compare; tokens that only the second has are padding."""
    reference = second.values[..., : first.values.shape[-1]]
    found, expected = first.found, second.found
    return Comparison(
        values=float((first.values - reference).abs().amax() / reference.abs().amax()),
        boxes=float((first.boxes - second.boxes).abs().amax()),
        detections=sum(len(f.scores) for f in found or ()),
        unmatched=sum(map(_unmatched, found, expected)) if found and expected else None,
    )


def _unmatched(first: Detections, second: Detections) -> int:
    """Count the detections of either side that have no partner."""
    free = torch.ones(len(second.scores), dtype=torch.bool, device=second.scores.device)
    lonely = 0
    for k in range(len(first.scores)):
        partners = _near(first, k, second) & free
        if partners.any():
            free[partners.nonzero()[0]] = False
        else:
            lonely += 1
    return max(lonely, int(free.sum()))


def _near(first: Detections, k: int, second: Detections) -> Tensor:
    return (
        (second.phrases == first.phrases[k])
        & ((second.boxes - first.boxes[k]).abs().amax(1) <= _BOX)
        & ((second.scores - first.scores[k]).abs() <= _SCORE)
    )
