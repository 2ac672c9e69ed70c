"""What every metric of an evaluation is: fed with detections and truths, summed up in the end."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torchmetrics import Metric

from glip_pl.structures import Detections, Question, Truth


class GroundingMetric(Metric):
    """Base of the metrics of an evaluation set.

    A data set makes its metric in `make_metric`; the task feeds and reads it. The first value of
    `compute` is the score by which checkpoints are chosen.
    """

    @abstractmethod
    def update(
        self,
        detections: Sequence[Detections],
        questions: Sequence[Question],
        truths: Sequence[Truth],
    ) -> None:
        """Add images.

        Args:
            detections: What was found, per image; `phrases` point into the question's prompt.
            questions: What was asked, per image.
            truths: What is there, per image.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return the named values over all images of all processes; -1 is undefined."""
