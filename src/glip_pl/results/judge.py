"""Two test runs judged anew from their predictions, with the interval of each difference."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torchmetrics import Metric

from glip_pl.metrics import GeneralizedReferring, PhraseRecall, ReferringAccuracy
from glip_pl.metrics.bootstrap import draws, interval
from glip_pl.results.class_precision import (
    AVERAGE_PRECISION,
    ClassPrecision,
    class_groups,
    class_precision,
)
from glip_pl.results.predictions import seen_again
from glip_pl.results.run_files import Run

# Metrics that are ratios of counts: such a count of many images is the sum of theirs.
RATIOS: Mapping[str, Callable[..., Metric]] = {
    "PhraseRecall": PhraseRecall,
    "ReferringAccuracy": ReferringAccuracy,
    "GeneralizedReferring": GeneralizedReferring,
}


@dataclass(frozen=True)
class Score:
    """One score of two runs.

    Attributes:
        name: What was scored.
        first: The score of the first run.
        second: The score of the second run.
        low: Lower end of the 95 % interval of `second - first`; None where none can be given.
        high: Upper end.
        num_true: True boxes, where the score is of a class.
    """

    name: str
    first: float
    second: float
    low: float | None = None
    high: float | None = None
    num_true: int | None = None

    @property
    def difference(self) -> float:
        """How far the second run is above the first."""
        return self.second - self.first

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Judgement:
    """Two runs on one test set.

    Attributes:
        metric: Name of the metric's class.
        num_images: Image files that both saw, which were drawn from.
        scores: Over the whole set; the first is the one that counts.
        classes: AP of each class, empty for other metrics.
    """

    metric: str
    num_images: int
    scores: Sequence[Score]
    classes: Sequence[Score] = ()


def judge(first: Run, second: Run, *, samples: int, seed: int) -> Judgement:
    """Compare two runs on the images that both saw, each against its own truth.

    Images of one file, such as the captions of one photo, are drawn together.
    """
    files = [{image["file_name"] for image in run.lists["images"]} for run in (first, second)]
    units = {name: unit for unit, name in enumerate(sorted(files[0] & files[1]))}
    metric = first.manifest["metric"]["class"]
    weights = np.concatenate([np.ones((1, len(units))), draws(len(units), samples, seed=seed)])
    weights = np.asfortranarray(weights, dtype=np.float32)
    if metric != second.manifest["metric"]["class"] or not units:
        return Judgement(metric, len(units), _as_they_are(first, second))
    if metric in AVERAGE_PRECISION:
        scores, classes = _compare_precision((first, second), units, weights)
        return Judgement(metric, len(units), scores, classes)
    if metric in RATIOS:
        ratios = [_ratios(run, units, weights) for run in (first, second)]
        shared = [name for name in ratios[0] if name in ratios[1]]
        scores = [_score(name, ratios[0][name], ratios[1][name]) for name in shared]
        return Judgement(metric, len(units), scores)
    return Judgement(metric, len(units), _as_they_are(first, second))


def _score(name: str, first: np.ndarray, second: np.ndarray, num_true: int | None = None) -> Score:
    """Make a score of values [1 + S], the first of which was measured and the others drawn."""
    drawn = (second - first)[1:]
    low, high = (None, None) if np.isnan(drawn).all() else interval(drawn)
    return Score(name, float(first[0]), float(second[0]), low, high, num_true)


def _class_score(name: str, first: ClassPrecision, second: ClassPrecision) -> Score:
    values = [of_class.values.mean(-1) for of_class in (first, second)]
    score = _score(name, values[0], values[1], first.num_true)
    # Drawing from one image with boxes tells nothing of how other images would do.
    alone = min(first.num_images, second.num_images) < 2
    return replace(score, low=None, high=None) if alone else score


def _as_they_are(first: Run, second: Run) -> list[Score]:
    """Return the scores of the results without intervals, where nothing can be judged anew."""
    scores = []
    for name, value in first.metrics.items():
        other = second.metrics.get(name)
        if value is not None and other is not None and not name.startswith("num_"):
            scores.append(Score(name, value, other))
    return scores


def _compare_precision(
    runs: Sequence[Run], units: Mapping[str, int], weights: np.ndarray
) -> tuple[list[Score], list[Score]]:
    """Return AP over all classes, over groups of them, and of each class that both have."""
    judged = [class_precision(run, units, weights) for run in runs]
    if not all(judged):
        return [], []
    # [class, 1 + S, T]
    every = [np.stack([of_class.values for of_class in classes.values()]) for classes in judged]
    columns = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    scores = []
    for name, chosen in columns.items():
        means = [_mean_of_defined(values[..., chosen].mean(-1)) for values in every]
        scores.append(_score(name, means[0], means[1]))
    groups = [class_groups(run) for run in runs]
    for name in groups[0]:
        members = [
            [classes[member].values.mean(-1) for member in of.get(name, ()) if member in classes]
            for of, classes in zip(groups, judged, strict=True)
        ]
        if all(members):
            means = [_mean_of_defined(np.stack(values)) for values in members]
            scores.append(_score(f"AP {name}", means[0], means[1]))
    first, second = judged
    return scores, [
        _class_score(name, first[name], second[name]) for name in first if name in second
    ]


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Average AP [class, 1 + S] over the classes that are there; nan where none is."""
    there = ~np.isnan(values)
    mean: np.ndarray = np.where(there, values, 0).sum(0) / np.where(there.any(0), there.sum(0), 1)
    return np.where(there.any(0), mean, np.nan)


def _ratios(run: Run, units: Mapping[str, int], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return each ratio [1 + S] of a metric that counts, summed over the drawn images."""
    described = run.manifest["metric"]
    settings = {name: value for name, value in described["settings"].items() if name != "types"}
    metric = RATIOS[described["class"]](**settings)
    hits: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(units)))
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(units)))
    shown = {image["id"]: image["file_name"] for image in run.lists["images"]}
    for image in seen_again(run.lists):
        unit = units.get(shown[image.image_id])
        if unit is None:
            continue
        metric.reset()
        metric.update([image.found], [image.question()], [image.truth()])
        values = {name: float(value) for name, value in metric.compute().items()}
        number = next(value for name, value in values.items() if name.startswith("num_"))
        for name, value in values.items():
            if not name.startswith("num_"):
                hits[name][unit] += max(value, 0) * number
                counts[name][unit] += number if value >= 0 else 0
    ratios = {}
    for name, of in counts.items():
        if of.any():
            drawn = weights @ of
            ratios[name] = np.where(drawn > 0, weights @ hits[name] / np.maximum(drawn, 1), np.nan)
    return ratios
