"""Thresholds, temperature and absence, on scores whose best answer is known."""

import numpy as np
import pytest
import torch

from glip_pl.calibration import calibrate_scores
from glip_pl.calibration.judged import Judged, _judge_class
from glip_pl.calibration.reliability import (
    Temperature,
    calibration_error,
    fit_temperature,
    reliability,
)
from glip_pl.calibration.thresholds import best_threshold
from glip_pl.structures import Detections

# Best first: right, right, wrong, right, wrong, wrong; four true boxes.
CLASS = Judged([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [True, True, False, True, False, False], 4)


def test_the_threshold_has_the_best_f1():
    found = best_threshold(CLASS)

    # Of 0.6 and up three of four are right, and three of four are found: F1 is 0.75.
    assert found.value == pytest.approx(0.55)
    assert (found.precision, found.recall, found.f1) == (0.75, 0.75, 0.75)


def test_a_precision_may_be_asked_for():
    found = best_threshold(CLASS, precision=0.9)

    assert found.value == pytest.approx(0.75)
    assert (found.precision, found.recall) == (1.0, 0.5)


def test_a_precision_out_of_reach_gives_the_closest():
    found = best_threshold(Judged([0.9, 0.8], [False, True], 1), precision=0.9)

    assert (found.value, found.precision) == (pytest.approx(0.4), 0.5)


def test_equal_scores_are_shown_together():
    found = best_threshold(Judged([0.5, 0.5], [True, False], 1))

    assert found.precision == 0.5


@pytest.mark.parametrize("nothing", [Judged(), Judged([0.9], [False], 0), Judged([], [], 3)])
def test_without_a_true_box_or_a_find_nothing_is_said(nothing):
    assert best_threshold(nothing) is None


def test_each_true_box_is_found_once_and_crowds_count_neither_way():
    box, crowd = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[50.0, 50, 90, 90]])
    found = Detections(
        torch.cat([box, box, crowd]), torch.tensor([0.6, 0.9, 0.8]), torch.zeros(3).long()
    )
    judged = Judged()

    _judge_class(judged, found, box, crowd, 0.5)

    assert (judged.num_true, judged.right) == (1, [True, False])
    assert judged.scores == pytest.approx([0.9, 0.6])


def test_scores_that_are_too_sure_get_the_temperature_that_made_them():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, 20_000)
    right = rng.uniform(size=len(true)) < true
    logit = np.log(true / (1 - true))
    scores = 1 / (1 + np.exp(-(2 * logit + 1)))

    found = fit_temperature(scores, right)

    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.shift == pytest.approx(-0.5, abs=0.1)
    assert calibration_error(found(scores), right) < 0.02 < calibration_error(scores, right)


def test_one_kind_of_detection_leaves_scores_as_they_are():
    assert fit_temperature(np.array([0.5, 0.9]), np.array([True, True])) == Temperature()


def test_the_error_is_the_mean_distance_of_score_and_share():
    scores, right = np.array([0.9, 0.9, 0.1, 0.1]), np.array([True, False, False, False])

    assert reliability(scores, right) == [
        (pytest.approx(0.1), 0.0, 2),
        (pytest.approx(0.9), 0.5, 2),
    ]
    assert calibration_error(scores, right) == pytest.approx((0.1 + 0.4) / 2)


def test_a_name_without_boxes_is_named_and_absence_is_counted():
    judged = {1: CLASS, 2: Judged([0.3], [False], 0, [0.3])}
    judged[1].absent[:] = [0.2, 0.9]

    found = calibrate_scores(judged, {1: "cell", 2: "ghost"})

    assert (set(found.thresholds), found.unknown) == ({"cell"}, ("ghost",))
    assert found.absence == 0.5
