"""What every metric of an evaluation is: fed with detections and targets, summed up in the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics import Metric

# Data sets name their metrics, so at run time the imports go from data to metrics only.
if TYPE_CHECKING:
    from glip_pl.structures import Detections, Target


class GroundingMetric(Metric):
    """Base of the metrics of an evaluation set.

    A data set makes its metric in `make_metric`; the task feeds and reads it. The first value of
    `compute` is the score by which checkpoints are chosen.
    """

    @abstractmethod
    def update(self, detections: Sequence[Detections], targets: Sequence[Target]) -> None:
        """Add images.

        Args:
            detections: What was found, per image; `phrases` point into the target's prompt.
            targets: What is there, per image.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Give the named values over all images of all processes; -1 is undefined."""
