import numpy as np
import pytest
import torch
from helpers import update
from pycocotools.mask import iou
from test_detection_metric import NAMES, random_pairs
from test_lvis_metric import lvis_json

from glip_pl.metrics import (
    LVISAP,
    DetectionAP,
    GeneralizedReferring,
    PhraseRecall,
    ReferringAccuracy,
)
from glip_pl.structures import Detections

FREQUENCY = dict(zip(NAMES, "rcf", strict=True))


def federated(pairs):
    """The truth of random pairs in the form of LVIS, without crowds, every category looked for."""
    images, boxes = [], []
    for _, target in pairs:
        shown = target.truth.shows.int().argmax(1).tolist() if len(target.truth.boxes) else []
        categories, image_id = [list(NAMES)[k] for k in shown], target.truth.image_id
        labelled = zip(categories, target.truth.boxes.tolist(), strict=True)
        boxes += [(image_id, category, box) for category, box in labelled]
        images.append((image_id, set(NAMES) - set(categories), ()))
    return lvis_json(images, boxes, FREQUENCY)


def every_metric(pairs):
    """One of each kind, for those of `random_pairs`."""
    return [
        DetectionAP(NAMES, groups={"absence": [2, 3], "presence": [7]}),
        LVISAP(federated(pairs)),
        LVISAP(federated(pairs), protocol="standard", max_detections=6),
        PhraseRecall(),
        PhraseRecall(protocol="merged"),
        ReferringAccuracy(),
        GeneralizedReferring(score_threshold=0.5),
    ]


def union(boxes):
    return torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])


def perfect(target, *, merged=False):
    """Detections of exactly what is there; with `merged`, one box around all that a phrase has."""
    g, k = target.truth.shows.nonzero().unbind(1)
    boxes = target.truth.boxes[g]
    if merged:
        k = k.unique()
        boxes = torch.stack([union(target.truth.boxes[target.truth.shows[:, p]]) for p in k])
    return Detections(boxes.reshape(-1, 4), torch.full((len(k),), 0.9), k)


def values(metric):
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("at", range(7))
def test_perfect_predictions_score_one_in_everything(at):
    pairs = [
        (found, target.but(crowd=torch.zeros_like(target.truth.crowd)))
        for found, target in random_pairs(30)
    ]
    metric = every_metric(pairs)[at]
    merged = getattr(metric, "protocol", "") == "merged"
    for _, target in pairs:
        update(metric, perfect(target, merged=merged and len(target.truth.boxes) > 0), target)

    found = {name: value for name, value in values(metric).items() if "num_" not in name}

    assert found == pytest.approx(dict.fromkeys(found, 1))


def overlaps(boxes, truth):
    """IoU [D, G] of xyxy boxes, by pycocotools."""
    sides = [torch.cat([b[:, :2], b[:, 2:] - b[:, :2]], 1).double().numpy() for b in (boxes, truth)]
    return iou(*sides, [0] * len(truth)) if len(boxes) else np.zeros((0, len(truth)))


@pytest.mark.parametrize("protocol", ["any", "merged"])
def test_recall_is_what_the_overlaps_of_pycocotools_say(protocol):
    topk, hits, count = (1, 2, 5), np.zeros(3), 0
    metric = PhraseRecall(topk, protocol=protocol)
    for found, target in random_pairs(60):
        update(metric, found, target)
        order = found.scores.argsort(descending=True)
        for phrase in range(len(NAMES)):
            truth = target.truth.boxes[target.truth.shows[:, phrase] & ~target.truth.crowd]
            if len(truth):
                truth = union(truth)[None] if protocol == "merged" else truth
                guesses = found.boxes[order][found.phrases[order] == phrase]
                right = (overlaps(guesses, truth) >= 0.5).any(1)
                hits += [right[:k].any() for k in topk]
                count += 1

    scores = values(metric)

    assert 0 < hits[0] < hits[2] < count
    assert [scores[f"recall@{k}"] for k in topk] == pytest.approx(hits / count)


def test_accuracy_is_what_the_overlaps_of_pycocotools_say():
    metric, hits, count = ReferringAccuracy(), 0, 0
    for found, target in random_pairs(60):
        update(metric, found, target)
        if len(target.truth.boxes):
            best = found.boxes[found.scores.argmax()][None]
            hits += (overlaps(best, target.truth.boxes) >= 0.5).any()
            count += 1

    assert 0 < hits < count
    assert values(metric)["accuracy"] == pytest.approx(hits / count)
