from dataclasses import replace

import pytest
import torch
from helpers import FakeTokenizer, make_sample, make_target, update

from glip_pl.data.collate import collate
from glip_pl.metrics import PhraseRecall, recall_hits
from glip_pl.prompts import Prompt
from glip_pl.structures import Detections

CAPTION = Prompt("a cat and a dog", (((0, 5),), ((10, 15),)))
CAT, DOG = 0, 1
LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
AWAY = (80.0, 80.0, 90.0, 90.0)


def target_of(boxes, phrases):
    return make_target(boxes, phrases, CAPTION, [-1, -1])


def result(target, *found, **options):
    """Values after one image; found are (box, score, phrase)."""
    metric = PhraseRecall(**options)
    boxes, scores, phrases = zip(*found, strict=True) if found else ((), (), ())
    detections = Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(phrases).long()
    )
    update(metric, detections, target)
    return {name: float(value) for name, value in metric.compute().items()}


def recalls(values):
    return [values[f"recall@{k}"] for k in (1, 5, 10)]


def test_the_best_guess_on_the_box_is_found_at_one():
    values = result(target_of([LEFT], [CAT]), (LEFT, 0.9, CAT), (AWAY, 0.1, CAT))

    assert recalls(values) == [1, 1, 1]


def test_the_second_best_guess_is_found_at_five_only():
    values = result(target_of([LEFT], [CAT]), (LEFT, 0.3, CAT), (AWAY, 0.4, CAT))

    assert recalls(values) == [0, 1, 1]


def test_the_fifth_guess_is_found_at_five_and_the_sixth_is_not():
    better = [(AWAY, 0.9, CAT)] * 4

    fifth = result(target_of([LEFT], [CAT]), *better, (LEFT, 0.1, CAT))
    sixth = result(target_of([LEFT], [CAT]), *better, (AWAY, 0.8, CAT), (LEFT, 0.1, CAT))

    assert recalls(fifth) == [0, 1, 1]
    assert recalls(sixth) == [0, 0, 1]


def test_the_eleventh_guess_is_not_found():
    values = result(target_of([LEFT], [CAT]), *[(AWAY, 0.9, CAT)] * 10, (LEFT, 0.1, CAT))

    assert recalls(values) == [0, 0, 0]


def test_guesses_for_other_phrases_neither_help_nor_hinder():
    target = target_of([LEFT, RIGHT], [CAT, DOG])

    values = result(target, (RIGHT, 0.9, CAT), (LEFT, 0.8, CAT), (RIGHT, 0.1, DOG))

    # The dog's only guess is right; the cat's best one lies on the dog.
    assert recalls(values) == [0.5, 1, 1]
    assert values["num_phrases"] == 2


def test_any_true_box_of_a_phrase_will_do():
    values = result(target_of([LEFT, RIGHT], [CAT, CAT]), (RIGHT, 0.9, CAT))

    assert recalls(values) == [1, 1, 1]
    assert values["num_phrases"] == 1


@pytest.mark.parametrize(("width", "hit"), [(5.0, 1), (4.9, 0)])
def test_the_overlap_must_be_a_half(width, hit):
    values = result(target_of([LEFT], [CAT]), ((0.0, 0.0, width, 10.0), 0.9, CAT))

    assert values["recall@1"] == hit


def test_a_phrase_that_nothing_was_found_for_is_a_miss():
    assert recalls(result(target_of([LEFT], [CAT]))) == [0, 0, 0]


def test_phrases_without_boxes_do_not_count():
    values = result(target_of([], []), (LEFT, 0.9, CAT))

    assert values == {"recall@1": -1, "recall@5": -1, "recall@10": -1, "num_phrases": 0}


def test_crowds_are_no_true_boxes():
    target = target_of([LEFT], [CAT])

    values = result(target.but(crowd=torch.tensor([True])), (LEFT, 0.9, CAT))

    assert values["num_phrases"] == 0


def test_guesses_are_compared_in_pixels_of_the_image_file():
    target = make_target([RIGHT], [CAT], CAPTION, [-1, -1], original=(200, 300))

    values = result(target, ((150.0, 0.0, 180.0, 20.0), 0.9, CAT))

    assert values["recall@1"] == 1


def test_hits_and_phrases_of_all_images_and_processes_are_summed():
    found = Detections(torch.tensor([LEFT]), torch.tensor([0.9]), torch.tensor([CAT]))
    here, there = PhraseRecall(), PhraseRecall()
    update(here, found, target_of([LEFT], [CAT]))
    update(here, found, target_of([RIGHT], [CAT]))
    update(there, found, target_of([RIGHT], [CAT]))
    sent = iter([getattr(there, state) for state in there.metric_state])
    here.dist_sync_fn = lambda state, group=None: [state, next(sent)]
    here.distributed_available_fn = lambda: True

    values = here.compute()

    assert float(values["recall@1"]) == pytest.approx(1 / 3)
    assert int(values["num_phrases"]) == 3


def test_all_guesses_may_be_taken():
    right_last = [(AWAY, 0.9, CAT)] * 40 + [(LEFT, 0.1, CAT)]

    values = result(target_of([LEFT], [CAT]), *right_last, topk=(10, -1))

    assert values == {"recall@10": 0, "recall@all": 1, "num_phrases": 1}


NEAR = (12.0, 0.0, 22.0, 10.0)


@pytest.mark.parametrize(
    ("guess", "any_box", "union"),
    [
        (LEFT, True, False),  # 100 of the union's 220 pixels
        ((0.0, 0.0, 22.0, 10.0), False, True),  # 100 of the guess's 220 pixels
        ((0.0, 0.0, 15.0, 10.0), True, True),  # 100 of 150, and 150 of 220
    ],
)
def test_either_any_box_of_a_phrase_or_their_union_is_wanted(guess, any_box, union):
    guesses, truth = torch.tensor([guess]), torch.tensor([LEFT, NEAR])

    assert recall_hits(guesses, truth, [1], "any").tolist() == [any_box]
    assert recall_hits(guesses, truth, [1], "merged").tolist() == [union]


def test_the_union_of_a_single_box_is_that_box():
    guesses = torch.tensor([AWAY, LEFT])

    assert recall_hits(guesses, torch.tensor([LEFT]), [1, 2], "merged").tolist() == [False, True]


def test_a_phrase_without_guesses_is_found_at_no_k():
    hits = recall_hits(torch.zeros(0, 4), torch.tensor([LEFT]), [1, -1])

    assert hits.tolist() == [False, False]


@pytest.mark.parametrize("protocol", ["any", "merged"])
def test_the_metric_scores_by_its_protocol(protocol):
    target = target_of([LEFT, NEAR], [CAT, CAT])

    values = result(target, (LEFT, 0.9, CAT), protocol=protocol)

    assert values["recall@1"] == (protocol == "any")


def test_a_phrase_counts_for_each_of_its_types():
    target = target_of([LEFT, RIGHT], [CAT, DOG])
    typed = target.but(phrase_types=(("animals", "other"), ("animals",)))

    values = result(typed, (LEFT, 0.9, CAT), topk=(1,), types=("people", "animals", "other"))

    assert values == {
        "recall@1": 0.5,
        "recall@1/people": -1,
        "recall@1/animals": 0.5,
        "recall@1/other": 1,
        "num_phrases": 2,
    }


def test_types_need_not_be_known_when_none_are_asked_for():
    typed = target_of([LEFT], [CAT]).but(phrase_types=(("animals",), ()))

    assert set(result(typed, topk=(1,))) == {"recall@1", "num_phrases"}


def test_a_phrase_of_an_unlisted_type_is_refused():
    typed = target_of([LEFT], [CAT]).but(phrase_types=(("animal",), ()))

    with pytest.raises(ValueError, match=r"'a cat' has the type 'animal', .* counts animals"):
        result(typed, types=("animals",))


def test_types_travel_from_sample_to_batch():
    sample = make_sample([(1, 2, 9, 9)], ["cat"])
    sample = replace(sample, truth=replace(sample.truth, phrase_types=(("animals",),)))

    assert collate([sample], FakeTokenizer()).truths[0].phrase_types == (("animals",),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topk": (1, 0)}, "topk has 0; give 1 or more, or -1"),
        ({"protocol": "union"}, 'no protocol \'union\'; choose "any" or "merged"'),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PhraseRecall(**options)


def test_types_are_summed_over_processes():
    found = Detections(torch.tensor([LEFT]), torch.tensor([0.9]), torch.tensor([CAT]))
    hit = target_of([LEFT], [CAT]).but(phrase_types=(("animals",), ()))
    miss = target_of([RIGHT], [CAT]).but(phrase_types=(("animals",), ()))
    here, there = (PhraseRecall((1,), types=("animals", "people")) for _ in range(2))
    update(here, found, hit)
    update(here, found, miss)
    update(there, found, miss)
    sent = iter([getattr(there, state) for state in there.metric_state])
    here.dist_sync_fn = lambda state, group=None: [state, next(sent)]
    here.distributed_available_fn = lambda: True

    values = here.compute()

    assert float(values["recall@1/animals"]) == pytest.approx(1 / 3)
    assert float(values["recall@1/people"]) == -1
