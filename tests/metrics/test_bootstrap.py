import numpy as np
import pytest
import torch
from helpers import make_target, update

from glip_pl.metrics import DetectionAP
from glip_pl.metrics.bootstrap import average_precision, draws, interval
from glip_pl.metrics.ranking import Found, Truth, rank
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Detections


def found(*rows):
    """Detections from (image, score, box)."""
    image, scores, boxes = zip(*rows, strict=True)
    return Found(np.array(image), np.array(boxes, dtype=float), np.array(scores))


def truth(*rows):
    """True boxes from (image, box), or (image, box, True) for a crowd."""
    return Truth(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows], dtype=float),
        np.array([len(row) > 2 for row in rows]),
    )


SQUARE, ELSEWHERE = (0, 0, 10, 10), (50, 50, 60, 60)


def scene(seed, *, digits=1):
    """30 random images of one class: shifted true boxes, false alarms, equal scores and crowds."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(30):
        corner = generator.uniform(0, 80, (generator.integers(0, 6), 2))
        true = np.concatenate([corner, corner + generator.uniform(5, 30, corner.shape)], 1)
        near = true[generator.random(len(true)) < 0.8]
        near = near + generator.normal(0, 1.5, near.shape)
        far = generator.uniform(0, 40, (generator.integers(0, 5), 4)) + np.array([0, 0, 45, 45])
        boxes = np.concatenate([near, far])
        scores = generator.random(len(boxes)).round(digits)
        images.append((true, generator.random(len(true)) < 0.15, boxes, scores))
    return images


def measured(images):
    """AP by DetectionAP."""
    metric = DetectionAP({7: "cat"})
    for number, (true, crowd, boxes, scores) in enumerate(images, start=1):
        order = np.argsort(-scores, kind="stable")
        target = make_target(
            true, [0] * len(true), PromptTemplate().join(["cat"]), [7], image_id=number
        ).but(crowd=torch.tensor(crowd, dtype=torch.bool))
        zeros = torch.zeros(len(boxes), dtype=torch.long)
        detections = Detections(torch.tensor(boxes[order]), torch.tensor(scores[order]), zeros)
        update(metric, detections, target)
    return float(metric.compute()["map"])


def ranked(images):
    place = [np.full(len(image[0]), i) for i, image in enumerate(images)]
    seen = [np.full(len(image[2]), i) for i, image in enumerate(images)]
    columns = [np.concatenate(column) for column in zip(*images, strict=True)]
    true = Truth(np.concatenate(place), columns[0], columns[1])
    return rank(Found(np.concatenate(seen), columns[2], columns[3]), true, len(images))


@pytest.mark.parametrize("seed", range(4))
def test_with_every_image_once_ap_is_the_metrics(seed):
    images = scene(seed)

    ap = average_precision(ranked(images), np.ones((1, len(images))))

    assert ap.mean() == pytest.approx(measured(images), abs=1e-4)


def test_an_image_drawn_three_times_counts_like_three_images():
    # Without equal scores, which would take turns between the copies of an image.
    images = scene(9, digits=9)
    weights = np.array([3, 0, 2, *[1] * 27])

    ap = average_precision(ranked(images), weights[None])

    drawn = [image for image, times in zip(images, weights, strict=True) for _ in range(times)]
    assert ap.mean() == pytest.approx(measured(drawn), abs=1e-4)


def test_many_draws_at_once_are_as_one_by_one(monkeypatch):
    ranking, weights = ranked(scene(3)), draws(30, 7)
    together = average_precision(ranking, weights)
    monkeypatch.setattr("glip_pl.metrics.bootstrap._ROOM", 100)

    one_by_one = average_precision(ranking, weights)

    np.testing.assert_allclose(together, one_by_one)


def test_the_precision_at_a_recall_is_the_best_at_any_higher_one():
    true = truth((0, SQUARE), (1, SQUARE))
    # A false alarm, then two hits: precision 1/2 at recall 1/2, 2/3 at recall 1.
    ranking = rank(
        found((0, 0.9, ELSEWHERE), (0, 0.8, SQUARE), (1, 0.7, SQUARE)), true, num_images=2
    )

    assert average_precision(ranking, np.ones((1, 2)))[0, 0] == pytest.approx(2 / 3)


def test_a_true_box_is_found_once():
    ranking = rank(found((0, 0.9, SQUARE), (0, 0.8, SQUARE)), truth((0, SQUARE)), 1)

    assert ranking.hits[0].tolist() == [True]  # What is behind the last hit is left out.


def test_a_detection_in_a_crowd_counts_neither_way():
    true = truth((0, SQUARE), (0, (40, 40, 80, 80), True))
    ranking = rank(found((0, 0.9, ELSEWHERE), (0, 0.8, SQUARE)), true, 1)

    assert ranking.ignored[:, 0].all()
    assert average_precision(ranking, np.ones((1, 1)))[0, 0] == pytest.approx(1)


def test_a_draw_without_a_true_box_has_no_ap():
    ranking = rank(found((0, 0.9, SQUARE)), truth((0, SQUARE)), 2)

    ap = average_precision(ranking, np.array([[0.0, 2.0], [1.0, 1.0]]))

    assert np.isnan(ap[0]).all()
    assert ap[1].tolist() == pytest.approx([1] * 10)


def test_a_class_without_a_hit_has_no_precision():
    ranking = rank(found((0, 0.9, ELSEWHERE)), truth((0, SQUARE)), 1)

    assert not average_precision(ranking, np.ones((1, 1))).any()


def test_every_draw_takes_as_many_images_as_there_are():
    drawn = draws(5, 100)

    assert drawn.shape == (100, 5)
    assert (drawn.sum(1) == 5).all()
    assert drawn.max() > 1


def test_equal_seeds_draw_equally():
    assert (draws(9, 3, seed=4) == draws(9, 3, seed=4)).all()
    assert (draws(9, 3, seed=4) != draws(9, 3, seed=5)).any()


def test_the_interval_leaves_out_a_fortieth_on_either_side():
    values = np.arange(41.0)

    assert interval(values) == pytest.approx((1, 39))
