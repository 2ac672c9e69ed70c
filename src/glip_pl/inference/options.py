"""What a call of the detector may choose: which boxes are shown, and how large images are seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glip_pl.inference.postprocess import PostProcess

DEFAULT_THRESHOLD = 0.3


@dataclass(frozen=True)
class Options:
    """Options of one prediction.

    Attributes:
        threshold: Least score, for all names or by name; None takes those that a calibration stored
            with the weights, and 0.3 for other names.
        nms_iou: Of two boxes of one name that overlap more, the lower is dropped.
        max_detections: Boxes per image.
        best_only: Whether a thing has one name only, the best.
        unknown: Whether to show, too, as "unknown", what the model was trained to see and the
            prompt does not name.
        short_side: Pixels of an image's shorter side as the model sees it; None takes what it was
            evaluated at.
        max_side: Bound of the longer side, likewise.
        tile: Side of square windows in pixels of the image, in which small objects are looked for
            one by one, beside the whole image; None looks at the whole only.
        overlap: How much neighbouring windows share, as a part of their side.
    """

    threshold: float | Mapping[str, float] | None = None
    nms_iou: float = 0.6
    max_detections: int = 100
    best_only: bool = True
    unknown: bool = False
    short_side: int | None = None
    max_side: int | None = None
    tile: int | None = None
    overlap: float = 0.2

    def __post_init__(self) -> None:
        for name in ("nms_iou", "overlap"):
            _insist(name, getattr(self, name), (int, float), "a number")
        for name in ("max_detections", "short_side", "max_side", "tile"):
            if (given := getattr(self, name)) is not None or name == "max_detections":
                _insist(name, given, int, "a whole number")
        values = [self.threshold] if not isinstance(self.threshold, Mapping) else []
        values += list(self.threshold.values()) if isinstance(self.threshold, Mapping) else []
        for value in values:
            if value is not None:
                _insist("threshold", value, (int, float), "a number, or one for each name")
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"threshold={value} is no score; give a number from 0 to 1")
        if not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou={self.nms_iou} must be above 0 and at most 1")
        if not 0 <= self.overlap < 0.9:
            raise ValueError(f"overlap={self.overlap} must be from 0 to less than 0.9")
        for name in ("max_detections", "short_side", "max_side", "tile"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be a positive number")

    def thresholds(self, names: Sequence[str], stored: Mapping[str, float]) -> Tensor:
        """Return the least score of each name, [K].

        Args:
            names: Those of the prompt.
            stored: What a calibration stored with the weights.
        """
        if self.threshold is not None and not isinstance(self.threshold, Mapping):
            return torch.full((len(names),), float(self.threshold))
        given = {**stored, **(self.threshold or {})}
        lower = {name.lower(): value for name, value in given.items()}
        return torch.tensor([lower.get(name.lower(), DEFAULT_THRESHOLD) for name in names])

    def postprocess(self, thresholds: Tensor) -> PostProcess:
        """Return how scores become detections; nothing above the thresholds [K] is lost."""
        return PostProcess(
            # A score is the root of phrase score and centerness.
            score_threshold=float(thresholds.min()) ** 2,
            nms_iou=self.nms_iou,
            max_detections=self.max_detections,
        )


def check_batch_size(batch_size: Any) -> None:
    """Refuse what is no number of images; None leaves it to their size.

    Raises:
        ValueError: It is none.
    """
    if batch_size is None:
        return
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be a positive whole number")


def check_options(options: Options | None) -> Options:
    """Return options, or those that hold where nobody chose.

    Raises:
        ValueError: They are of another kind.
    """
    if options is not None and not isinstance(options, Options):
        raise ValueError(
            f"options of type {type(options).__name__} are none; give "
            "glip_pl.inference.options.Options(threshold=0.5)"
        )
    return options or Options()


def _insist(name: str, value: Any, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Refuse a value of another kind.

    Raises:
        ValueError: It is one.
    """
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is of type {type(value).__name__}; give {wanted}")
