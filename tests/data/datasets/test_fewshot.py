from collections import Counter

import pytest
import torch
from helpers import write_coco
from loaded_sets import loaded

from glip_pl.data import CategoryDetection
from glip_pl.data.datasets.few_shot import few_shot

CAT, DOG, OWL = 0, 1, 2
SHOWN = [[CAT], [CAT, DOG], [], [DOG, DOG], [OWL], [CAT], [CAT, DOG], [DOG]]


def counts(chosen):
    return Counter(c for image in chosen for c in set(SHOWN[image]))


@pytest.mark.parametrize("seed", [3, 30, 300])
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_every_category_is_shown_so_often_or_by_all_its_images(shots, seed):
    found = counts(few_shot(SHOWN, shots, seed))

    assert found[CAT] >= shots
    assert found[DOG] >= shots
    assert found[OWL] == 1  # There is but one.


@pytest.mark.parametrize("seed", range(20))
def test_every_image_was_needed_when_it_was_taken(seed):
    # One image of each is enough, or two when the first shows only one of them.
    chosen = few_shot([[CAT, DOG], [CAT], [DOG]], 1, seed)

    assert sorted(chosen) in ([0], [0, 1], [0, 2], [1, 2])


def test_several_boxes_of_a_category_in_one_image_are_one_example():
    assert few_shot([[DOG, DOG, DOG], [DOG]], 2, 3) == [0, 1]


def test_images_without_boxes_are_not_taken():
    assert 2 not in few_shot(SHOWN, 100, 3)


def test_a_seed_gives_the_same_images_whatever_was_drawn_before():
    first = few_shot(SHOWN, 1, 30)
    torch.rand(5)

    assert few_shot(SHOWN, 1, 30) == first


def test_seeds_choose_different_images():
    many = [[CAT] for _ in range(100)]

    assert len({tuple(few_shot(many, 3, seed)) for seed in (3, 30, 300)}) == 3


def test_no_shot_at_all_is_refused():
    with pytest.raises(ValueError, match="shots is 0; give 1 or more"):
        few_shot(SHOWN, 0, 3)


def test_a_data_set_keeps_only_its_shots(tmp_path):
    boxes = {f"{k}.png": [(1, (1, 2, 10, 20))] for k in range(6)}
    write_coco(tmp_path, boxes, names={1: "cat"})
    dataset = CategoryDetection("annotations/train.json", shots=2, shot_seed=30)

    chosen = few_shot([[0]] * 6, 2, 30)
    assert [sample.truth.image_id for sample in loaded(dataset, tmp_path)] == [
        1 + k for k in chosen
    ]
