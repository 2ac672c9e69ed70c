from dataclasses import replace

import pytest
import torch
from helpers import make_target, update

from glip_pl.metrics import GeneralizedReferring, ReferringAccuracy
from glip_pl.prompts import Prompt
from glip_pl.structures import Detections

LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
AWAY = (80.0, 80.0, 90.0, 90.0)


def sentence(*boxes, original=(100, 100)):
    """A target whose whole caption is one phrase, with these true boxes."""
    prompt = Prompt("the left cat", (((0, 12),),))
    return make_target(boxes, [0] * len(boxes), prompt, [-1], original=original)


def guesses(*found):
    """Detections as (box, score)."""
    boxes, scores = zip(*found, strict=True) if found else ((), ())
    return Detections(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.zeros(len(boxes), dtype=torch.long),
    )


def result(metric, *pairs):
    for found, target in pairs:
        update(metric, found, target)
    return {name: float(value) for name, value in metric.compute().items()}


SURE, FAINT = 0.9, 0.3


def test_the_best_detection_decides():
    values = result(
        ReferringAccuracy(),
        (guesses((AWAY, 0.4), (LEFT, 0.9)), sentence(LEFT)),
        (guesses((AWAY, 0.9), (LEFT, 0.4)), sentence(LEFT)),
        (guesses(), sentence(LEFT)),
    )

    assert values == {"accuracy": pytest.approx(1 / 3), "num_sentences": 3}


@pytest.mark.parametrize(("width", "right"), [(5.0, 1), (4.9, 0)])
def test_the_overlap_must_be_a_half(width, right):
    found = guesses(((0.0, 0.0, width, 10.0), SURE))

    assert result(ReferringAccuracy(), (found, sentence(LEFT)))["accuracy"] == right
    assert result(GeneralizedReferring(), (found, sentence(LEFT)))["precision"] == right


def test_sentences_without_a_box_have_no_accuracy():
    values = result(ReferringAccuracy(), (guesses((LEFT, SURE)), sentence()))

    assert values == {"accuracy": -1, "num_sentences": 0}


def test_detections_are_compared_in_pixels_of_the_image_file():
    found = guesses(((100.0, 0.0, 120.0, 20.0), SURE))
    target = sentence(RIGHT, original=(200, 200))

    assert result(ReferringAccuracy(), (found, target))["accuracy"] == 1
    assert result(GeneralizedReferring(), (found, target))["precision"] == 1


def test_all_phrases_of_a_sentence_count_together():
    prompt = Prompt("a cat, a dog", (((0, 5),), ((7, 12),)))
    target = make_target([LEFT, RIGHT], [0, 1], prompt, [-1, -1])
    found = replace(guesses((LEFT, SURE), (RIGHT, SURE)), phrases=torch.tensor([0, 1]))

    assert result(GeneralizedReferring(), (found, target))["precision"] == 1


@pytest.mark.parametrize(
    ("found", "true", "right"),
    [
        ([(LEFT, SURE)], [LEFT], 1),
        ([(LEFT, SURE), (RIGHT, SURE)], [RIGHT, LEFT], 1),
        ([(LEFT, SURE)], [LEFT, RIGHT], 0),  # A miss: F1 is 2 / 3.
        ([(LEFT, SURE), (AWAY, SURE)], [LEFT], 0),  # A false alarm, likewise.
        ([(LEFT, SURE), (LEFT, SURE)], [LEFT], 0),  # A box is found once.
        ([(LEFT, SURE), (LEFT, SURE)], [LEFT, RIGHT], 0),
        ([(LEFT, SURE), (AWAY, FAINT)], [LEFT], 1),  # Below the threshold nothing counts.
        ([(LEFT, FAINT)], [LEFT], 0),
        ([], [LEFT], 0),
        ([], [], 1),
        ([(AWAY, FAINT)], [], 1),
        ([(AWAY, SURE)], [], 0),
    ],
)
def test_a_sentence_is_right_when_exactly_its_boxes_are_found(found, true, right):
    values = result(GeneralizedReferring(), (guesses(*found), sentence(*true)))

    assert values["precision"] == right


def test_the_best_overlap_is_matched_first():
    near = (4.0, 0.0, 14.0, 10.0)  # Overlaps LEFT by 60 of 140 and `wide` by 100 of 140.
    wide = (0.0, 0.0, 14.0, 10.0)  # Overlaps LEFT by 100 of 140.

    values = result(GeneralizedReferring(), (guesses((wide, SURE), (LEFT, 0.8)), sentence(LEFT)))
    pair = result(
        GeneralizedReferring(), (guesses((wide, SURE), (LEFT, 0.8)), sentence(LEFT, near))
    )

    assert values["precision"] == 0
    # LEFT goes to LEFT although `wide` has the higher score, and so `wide` remains for `near`.
    assert pair["precision"] == 1


def test_a_score_at_the_threshold_counts():
    found = guesses((LEFT, 0.5))

    values = result(GeneralizedReferring(score_threshold=0.5), (found, sentence(LEFT)))

    assert values["precision"] == 1


def test_sentences_with_and_without_boxes_have_accuracies_of_their_own():
    values = result(
        GeneralizedReferring(),
        (guesses(), sentence()),
        (guesses((LEFT, FAINT)), sentence()),
        (guesses((LEFT, SURE)), sentence()),
        (guesses((AWAY, SURE)), sentence(LEFT)),  # Wrong, but something is seen.
        (guesses(), sentence(LEFT)),
    )

    assert values == {
        "precision": pytest.approx(2 / 5),
        "n_acc": pytest.approx(2 / 3),
        "t_acc": pytest.approx(1 / 2),
        "num_sentences": 5,
    }


def test_kinds_of_sentences_that_do_not_occur_are_undefined():
    values = result(GeneralizedReferring(), (guesses((LEFT, SURE)), sentence(LEFT)))

    assert values == {"precision": 1, "n_acc": -1, "t_acc": 1, "num_sentences": 1}


@pytest.mark.parametrize("kind", [ReferringAccuracy, GeneralizedReferring])
def test_any_split_among_processes_gives_the_same_result(kind):
    pairs = [
        (guesses((LEFT, SURE)), sentence(LEFT)),
        (guesses((AWAY, SURE)), sentence(LEFT)),
        (guesses(), sentence()),
        (guesses((AWAY, SURE)), sentence()),
        (guesses((LEFT, SURE), (RIGHT, SURE)), sentence(LEFT, RIGHT)),
    ]
    alone, here, there = kind(), kind(), kind()
    expected = result(alone, *pairs)
    for found, target in pairs[3:]:
        update(there, found, target)
    # What two processes would exchange: the states, in the order of their names.
    sent = iter([getattr(there, state) for state in there.metric_state])
    here.dist_sync_fn = lambda state, group=None: [state, next(sent)]
    here.distributed_available_fn = lambda: True

    assert result(here, *pairs[:3]) == expected


@pytest.mark.parametrize("kind", [ReferringAccuracy, GeneralizedReferring])
def test_reset_forgets_all_sentences(kind):
    metric = kind()
    result(metric, (guesses((AWAY, SURE)), sentence(LEFT)))
    metric.reset()

    values = result(metric, (guesses((LEFT, SURE)), sentence(LEFT)))

    assert next(iter(values.values())) == 1
    assert values["num_sentences"] == 1
