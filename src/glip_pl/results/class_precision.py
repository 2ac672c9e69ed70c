"""AP of every class of a test run, from its predictions, under many weightings of the images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glip_pl.metrics.bootstrap import average_precision
from glip_pl.metrics.ranking import COCO, LVIS, Found, Truth, rank
from glip_pl.results.predictions import corners
from glip_pl.results.run_files import Run

# The metrics that are averages over classes.
AVERAGE_PRECISION = ("DetectionAP", "LVISAP")


@dataclass(frozen=True)
class ClassPrecision:
    """One class of a run.

    Attributes:
        num_true: Its true boxes, without crowds; at least 1.
        num_images: Images with such boxes.
        values: AP [S, T] under each weighting, per IoU; nan where one leaves no true box.
    """

    num_true: int
    num_images: int
    values: np.ndarray


@dataclass(frozen=True)
class _Boxes:
    """Boxes of all classes.

    Attributes:
        image: [n], position of the image.
        category: [n].
        corners: [n, 4], xyxy pixels.
        value: [n], the score of a detection, or whether a true box is around a crowd.
    """

    image: np.ndarray
    category: np.ndarray
    corners: np.ndarray
    value: np.ndarray

    def chosen(self, rows: np.ndarray | slice) -> "_Boxes":
        """Return some of the rows."""
        return _Boxes(self.image[rows], self.category[rows], self.corners[rows], self.value[rows])

    def by_category(self, categories: Iterable[int]) -> "dict[int, _Boxes]":
        """Return the rows of each category, in their order."""
        rows = self.chosen(self.category.argsort(kind="stable"))
        return {
            c: rows.chosen(slice(*np.searchsorted(rows.category, [c, c + 1]))) for c in categories
        }


def class_precision(
    run: Run, units: Mapping[str, int], weights: np.ndarray
) -> dict[str, ClassPrecision]:
    """Judge each class that has true boxes, by its name.

    Args:
        run: A run whose metric is one of `AVERAGE_PRECISION`.
        units: The column of `weights` of each image file; other images are left out.
        weights: [S, files], how often each file counts.

    Raises:
        ValueError: The metric is LVIS's, and the images do not say what they were labelled for.
    """
    images = [image for image in run.lists["images"] if image["file_name"] in units]
    position = {image["id"]: i for i, image in enumerate(images)}
    own = weights.T[[units[image["file_name"]] for image in images]].T
    names = class_names(run)
    protocol, labels, found = COCO, None, _boxes(run.lists["detections"], position, "score")
    metric = run.manifest["metric"]
    if metric["class"] == "LVISAP":
        protocol, labels, limit = LVIS, _Labels(images), metric["settings"]["max_detections"]
        if metric["settings"]["protocol"] == "fixed":
            protocol = replace(LVIS, max_per_class=limit)
        else:
            found = found.chosen(_best_of_each_image(found, limit))
    detections = found.by_category(names)
    true = _boxes(run.lists["truth"], position, "iscrowd").by_category(names)
    results = {}
    for category, name in names.items():
        boxes, guesses = true[category], detections[category]
        truth = Truth(boxes.image, boxes.corners, boxes.value.astype(bool))
        places = truth.image[~truth.crowd]
        if not len(places):
            continue
        if labels is not None:
            truth = labels.added_to(truth, category)
        of_class = Found(guesses.image, guesses.corners, guesses.value)
        precision = average_precision(rank(of_class, truth, len(images), protocol), own)
        results[name] = ClassPrecision(len(places), len(np.unique(places)), precision)
    return results


def class_names(run: Run) -> dict[int, str]:
    """Return the name of each category id, with the id where several have the same name."""
    names = {int(i): name for i, name in run.manifest["categories"].items()}
    count = Counter(names.values())
    return {i: name if count[name] == 1 else f"{name} (id {i})" for i, name in names.items()}


def class_groups(run: Run) -> dict[str, list[str]]:
    """Return the classes of each group that the metric averages over ("rare"), by their names."""
    names = class_names(run)
    groups: Mapping[str, Sequence[int]] = run.manifest["metric"].get("groups", {})
    return {group: [names[i] for i in ids] for group, ids in groups.items()}


class _Labels:
    """Which images were labelled for which categories, as LVIS tells of each image.

    Args:
        images: Records of ``predictions.json``, in the order of their positions.

    Raises:
        ValueError: A record does not tell.
    """

    def __init__(self, images: Sequence[Mapping[str, Any]]) -> None:
        self._num_images = len(images)
        self._absent: dict[int, list[int]] = defaultdict(list)
        self._incomplete: dict[int, list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            try:
                for category in image["neg_category_ids"]:
                    self._absent[category].append(i)
                for category in image["not_exhaustive_category_ids"]:
                    self._incomplete[category].append(i)
            except KeyError as error:
                raise ValueError(
                    f"the image {image['file_name']!r} of the predictions has no {error}, which "
                    "LVIS's AP needs; run `glip test` again with this version"
                ) from error

    def added_to(self, truth: Truth, category: int) -> Truth:
        """Add to the true boxes of a category where it was looked for, and where some may lack."""
        labelled, incomplete = np.zeros((2, self._num_images), dtype=bool)
        labelled[self._absent[category]] = True
        labelled[truth.image] = True
        incomplete[self._incomplete[category]] = True
        return replace(truth, labelled=labelled, incomplete=incomplete)


def _boxes(entries: Sequence[Mapping[str, Any]], position: Mapping[int, int], value: str) -> _Boxes:
    """Gather the records of known images."""
    known = [entry for entry in entries if entry["image_id"] in position]
    return _Boxes(
        np.array([position[entry["image_id"]] for entry in known], dtype=int),
        np.array([entry["category_id"] for entry in known], dtype=int),
        corners([entry["bbox"] for entry in known]).numpy(),
        np.array([entry[value] for entry in known], dtype=float),
    )


def _best_of_each_image(found: _Boxes, limit: int) -> np.ndarray:
    """Return the rows of the `limit` best scores of each image, in their order."""
    order = np.lexsort((-found.value, found.image))
    starts = np.searchsorted(found.image[order], np.arange(found.image.max(initial=-1) + 1))
    place = np.arange(len(order)) - starts[found.image[order]]
    return np.sort(order[place < limit])
