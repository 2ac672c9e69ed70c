"""Several phrases for one name, unwanted phrases, and absence."""

import pytest
import torch
from helpers import FakeTokenizer

from glip_pl.inference.answers import absence_scores, settle
from glip_pl.prompts.request import compile_request
from glip_pl.structures import Detections

HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def found(*rows):
    """Detections of (box, score, phrase)."""
    boxes, scores, phrases = zip(*rows, strict=True)
    return Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(phrases))


def test_of_two_phrases_for_one_name_the_better_counts():
    settled = settle(found((HERE, 0.9, 1), (HERE, 0.8, 0), (THERE, 0.7, 0)), [0, 0])

    assert settled.scores.tolist() == pytest.approx([0.9, 0.7])
    assert settled.phrases.tolist() == [0, 0]


def test_what_is_not_wanted_takes_its_box_away_from_a_neighbour():
    settled = settle(found((HERE, 0.9, 1), (HERE, 0.8, 0), (THERE, 0.7, 0)), [0, -1])

    assert settled.boxes.tolist() == [list(THERE)]


def test_a_better_box_of_what_is_wanted_stays():
    settled = settle(found((HERE, 0.9, 0), (HERE, 0.8, 1)), [0, -1])

    assert settled.phrases.tolist() == [0]


def test_phrases_that_stand_for_themselves_are_left_alone():
    given = found((HERE, 0.9, 0))

    assert settle(given, ()) is given


def test_a_bar_joins_phrases_to_one_name():
    compiled = compile_request("sofa | couch. cat.", FakeTokenizer(), caption=False)

    assert compiled.names == ("sofa", "couch", "cat")
    assert compiled.answers == (0, 0, 2)


def test_unwanted_names_are_asked_but_answer_nothing():
    compiled = compile_request("cat.", FakeTokenizer(), caption=False, unwanted="mirror. toy.")

    assert compiled.names == ("cat", "mirror", "toy")
    assert compiled.answers == (0, -1, -1)


def test_plain_names_answer_for_themselves():
    assert compile_request("cat. dog.", FakeTokenizer(), caption=False).answers == ()


def test_an_empty_alternative_is_refused():
    with pytest.raises(ValueError, match="nothing between its bars"):
        compile_request("sofa | . cat.", FakeTokenizer(), caption=False)


def test_a_sentence_takes_no_unwanted_names():
    with pytest.raises(ValueError, match="--not goes with names"):
        compile_request("a cat", FakeTokenizer(), caption=True, unwanted="dog")


def test_absence_is_what_the_best_score_leaves():
    scores = absence_scores(found((HERE, 0.9, 1), (THERE, 0.4, 1), (THERE, 0.25, 0)), 3)

    assert scores.tolist() == pytest.approx([0.75, 0.1, 1.0])
