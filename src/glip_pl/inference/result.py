"""What was found in one image, and the same in the forms of other libraries."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from torch import Tensor

from glip_pl.inference.answers import absence_scores
from glip_pl.structures import Detections
from glip_pl.system.faults import advice_of

UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Result:
    """Labelled boxes of one image, best first.

    Attributes:
        boxes: [D, 4], xyxy pixels of the image, inside it.
        scores: [D] in [0, 1].
        labels: [D], index into `phrases`; -1 for what the prompt does not name.
        names: The name of each box.
        phrases: All that was asked for.
        size: (height, width) of the image.
        source: Path or URL of the image, where it has one.
        load_pixels: Returns the image, uint8 [H, W, 3].
        notes: What to know of the answer, such as names that the model was not trained on.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    names: tuple[str, ...]
    phrases: tuple[str, ...]
    size: tuple[int, int]
    source: str | None
    load_pixels: Callable[[], np.ndarray]
    notes: tuple[str, ...] = ()

    @classmethod
    def of_detections(
        cls,
        found: Detections,
        phrases: tuple[str, ...],
        *,
        size: tuple[int, int],
        source: str | None,
        load_pixels: Callable[[], np.ndarray],
        notes: Sequence[str] = (),
    ) -> Self:
        """Name the detections of an image, boxes [D, 4] in its pixels."""
        names = tuple(UNKNOWN if k < 0 else phrases[k] for k in found.phrases.tolist())
        labelled = found.boxes, found.scores, found.phrases, names
        return cls(
            *labelled,
            phrases=phrases,
            size=size,
            source=source,
            load_pixels=load_pixels,
            notes=tuple(notes),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        told = "; ".join([self.summary() or "nothing", *self.notes])
        return f"Result({self.source or 'image'}: {told})"

    def of(self, source: str) -> "Result":
        """Return the same with another source."""
        return replace(self, source=source)

    def summary(self) -> str:
        """Count the boxes by name: "2 cat, 1 dog"."""
        return ", ".join(f"{count} {name}" for name, count in Counter(self.names).items())

    def absence(self) -> dict[str, float]:
        """Return for each name how sure it is that the image does not show it: 1 - its best score.

        A name of which nothing was above the threshold has 1; ask with ``threshold=0`` for more.
        Calibrated scores make it a probability.
        """
        named = Detections(self.boxes, self.scores, self.labels).select(self.labels >= 0)
        absent = absence_scores(named, len(self.phrases)).tolist()
        return {name: round(value, 4) for name, value in zip(self.phrases, absent, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, ready for JSON."""
        return {
            "image": self.source,
            "detections": self.to_records(),
            "absence": self.absence(),
        }

    def to_records(self) -> list[dict[str, Any]]:
        """Return a ``phrase``, a ``score`` and a ``box``, xyxy pixels, of each box."""
        return [
            {"phrase": name, "score": round(score, 4), "box": [round(x, 2) for x in box]}
            for name, score, box in self._rows()
        ]

    def to_coco(self, image_id: int = 0, categories: Mapping[str, int] | None = None) -> list[Any]:
        """Return results as COCO's evaluation reads them, boxes as [x, y, width, height].

        Args:
            image_id: The data set's id of the image.
            categories: The data set's id of each name; by default the place in the prompt. Boxes of
                other names are left out.
        """
        ids = categories or {name: k for k, name in enumerate(self.phrases)}
        return [
            {
                "image_id": image_id,
                "category_id": ids[name],
                "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(score, 4),
            }
            for name, score, (x0, y0, x1, y1) in self._rows()
            if name in ids
        ]

    def to_hf(self) -> dict[str, Any]:
        """Return what post-processing of grounded detectors returns in transformers."""
        return {
            "scores": self.scores,
            "labels": self.labels,
            "text_labels": list(self.names),
            "boxes": self.boxes,
        }

    def to_supervision(self) -> Any:
        """Return ``supervision.Detections``."""
        supervision = _library("supervision")
        return supervision.Detections(
            xyxy=self.boxes.numpy(),
            confidence=self.scores.numpy(),
            class_id=self.labels.numpy(),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row per box."""
        pandas = _library("pandas")
        rows = [(*box, score, name) for name, score, box in self._rows()]
        return pandas.DataFrame(rows, columns=["x0", "y0", "x1", "y1", "score", "name"])

    def plot(self) -> Image.Image:
        """Draw the boxes with names and scores on a copy of the image."""
        from glip_pl.inference.visualize import draw  # OpenCV is needed for pictures alone.

        texts = [f"{name} {score:.2f}" for name, score, _ in self._rows()]
        drawn = draw(self.load_pixels(), self.boxes, texts, colors=self.labels.tolist())
        return Image.fromarray(drawn)

    def save(self, path: str | Path) -> None:
        """Write the picture that `plot` draws, in the format of the file's suffix.

        Raises:
            ValueError: The suffix is of no picture, or it is the image itself.
        """
        target = Path(path)
        if self.source is not None and target.exists() and target.samefile(self.source):
            raise ValueError(f"{str(path)!r} is the image itself; save the picture elsewhere")
        if target.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"{str(path)!r} has no suffix of a picture; use .jpg or .png")
        try:
            self.plot().save(target)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(
                f"{str(path)!r} cannot be written ({reason}); {advice_of(error.errno)}"
            ) from error

    def _rows(self) -> list[tuple[str, float, list[float]]]:
        return list(zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(f"the package {name} is not installed; run: pip install {name}") from error
