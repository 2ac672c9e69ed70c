from dataclasses import replace

import pytest
import torch

from glip_pl.data.batch import Target
from glip_pl.metrics import PhraseRecall
from glip_pl.postprocess import Detections
from glip_pl.prompts import Prompt

CAPTION = Prompt("a cat and a dog", (((0, 5),), ((10, 15),)))
CAT, DOG = 0, 1
LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
AWAY = (80.0, 80.0, 90.0, 90.0)


def make_target(boxes, phrases):
    shows = torch.zeros(len(boxes), 2, dtype=torch.bool)
    shows[torch.arange(len(boxes)), torch.tensor(phrases, dtype=torch.long)] = True
    return Target(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        shows=shows,
        positive_map=torch.zeros(2, 1, dtype=torch.bool),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
        phrase_ids=torch.tensor([-1, -1]),
        size=(100, 100),
        original_size=(100, 100),
        image_id=1,
        prompt=CAPTION,
    )


def result(target, *found):
    """Values after one image; found are (box, score, phrase)."""
    metric = PhraseRecall()
    boxes, scores, phrases = zip(*found, strict=True) if found else ((), (), ())
    detections = Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(phrases).long()
    )
    metric.update([detections], [target])
    return {name: float(value) for name, value in metric.compute().items()}


def recalls(values):
    return [values[f"recall@{k}"] for k in (1, 5, 10)]


def test_the_best_guess_on_the_box_is_found_at_one():
    values = result(make_target([LEFT], [CAT]), (LEFT, 0.9, CAT), (AWAY, 0.1, CAT))

    assert recalls(values) == [1, 1, 1]


def test_the_second_best_guess_is_found_at_five_only():
    values = result(make_target([LEFT], [CAT]), (LEFT, 0.3, CAT), (AWAY, 0.4, CAT))

    assert recalls(values) == [0, 1, 1]


def test_the_fifth_guess_is_found_at_five_and_the_sixth_is_not():
    better = [(AWAY, 0.9, CAT)] * 4

    fifth = result(make_target([LEFT], [CAT]), *better, (LEFT, 0.1, CAT))
    sixth = result(make_target([LEFT], [CAT]), *better, (AWAY, 0.8, CAT), (LEFT, 0.1, CAT))

    assert recalls(fifth) == [0, 1, 1]
    assert recalls(sixth) == [0, 0, 1]


def test_the_eleventh_guess_is_not_found():
    values = result(make_target([LEFT], [CAT]), *[(AWAY, 0.9, CAT)] * 10, (LEFT, 0.1, CAT))

    assert recalls(values) == [0, 0, 0]


def test_guesses_for_other_phrases_neither_help_nor_hinder():
    target = make_target([LEFT, RIGHT], [CAT, DOG])

    values = result(target, (RIGHT, 0.9, CAT), (LEFT, 0.8, CAT), (RIGHT, 0.1, DOG))

    # The dog's only guess is right; the cat's best one lies on the dog.
    assert recalls(values) == [0.5, 1, 1]
    assert values["num_phrases"] == 2


def test_any_true_box_of_a_phrase_will_do():
    values = result(make_target([LEFT, RIGHT], [CAT, CAT]), (RIGHT, 0.9, CAT))

    assert recalls(values) == [1, 1, 1]
    assert values["num_phrases"] == 1


@pytest.mark.parametrize(("width", "hit"), [(5.0, 1), (4.9, 0)])
def test_the_overlap_must_be_a_half(width, hit):
    values = result(make_target([LEFT], [CAT]), ((0.0, 0.0, width, 10.0), 0.9, CAT))

    assert values["recall@1"] == hit


def test_a_phrase_that_nothing_was_found_for_is_a_miss():
    assert recalls(result(make_target([LEFT], [CAT]))) == [0, 0, 0]


def test_phrases_without_boxes_do_not_count():
    values = result(make_target([], []), (LEFT, 0.9, CAT))

    assert values == {"recall@1": -1, "recall@5": -1, "recall@10": -1, "num_phrases": 0}


def test_crowds_are_no_true_boxes():
    target = make_target([LEFT], [CAT])

    values = result(replace(target, crowd=torch.tensor([True])), (LEFT, 0.9, CAT))

    assert values["num_phrases"] == 0


def test_guesses_are_compared_in_pixels_of_the_image_file():
    target = replace(make_target([RIGHT], [CAT]), original_size=(200, 300))

    values = result(target, ((150.0, 0.0, 180.0, 20.0), 0.9, CAT))

    assert values["recall@1"] == 1


def test_hits_and_phrases_of_all_images_and_processes_are_summed():
    found = Detections(torch.tensor([LEFT]), torch.tensor([0.9]), torch.tensor([CAT]))
    here, there = PhraseRecall(), PhraseRecall()
    here.update([found, found], [make_target([LEFT], [CAT]), make_target([RIGHT], [CAT])])
    there.update([found], [make_target([RIGHT], [CAT])])
    sent = iter([getattr(there, state) for state in there.metric_state])
    here.dist_sync_fn = lambda state, group=None: [state, next(sent)]
    here.distributed_available_fn = lambda: True

    values = here.compute()

    assert float(values["recall@1"]) == pytest.approx(1 / 3)
    assert int(values["num_phrases"]) == 3
