import json
from dataclasses import replace

import pytest
import torch
from helpers import FakeTokenizer, Target, targets_of, update, write_coco
from loaded_sets import loaded
from test_detection_metric import NAMES, random_pairs

from glip_pl.data import DescribedDetection, collate
from glip_pl.metrics import DetectionAP
from glip_pl.structures import Detections

# Group 1 is of dogs, group 2 of hats; the third description is of an absence.
DESCRIPTIONS = {1: "a dog on a leash", 2: "a blue hat", 5: "a dog without a leash"}
GROUPS = {1: [1], 2: [2], 5: [1]}
BOX, OTHER = (1, 2, 10, 20), (30, 5, 10, 10)


def load(root, boxes, *, image_groups=(1, 2), absent=(5,), **options):
    path = write_coco(root, boxes, names=DESCRIPTIONS)
    document = json.loads(path.read_text())
    for category in document["categories"]:
        category |= {"is_negative": category["id"] in absent, "group_id": GROUPS[category["id"]]}
    for image, group in zip(document["images"], image_groups, strict=True):
        image["group_id"] = group
    path.write_text(json.dumps(document))
    return loaded(DescribedDetection("annotations/train.json", **options), root)


TWO = {"dogs.png": [(1, BOX), (5, OTHER)], "hats.png": [(2, BOX)]}


def found_all(dataset, wrong=()):
    """Evaluate detections of every box that is asked for, those of the wrong ids beside them."""
    metric = dataset.make_metric()
    for target in targets_of(collate(list(dataset), FakeTokenizer())):
        box, phrase = target.truth.shows.nonzero().unbind(1)
        boxes = target.truth.boxes[box]
        boxes[torch.isin(target.question.phrase_ids[phrase], torch.tensor(wrong))] += 25
        update(metric, Detections(boxes, torch.full((len(box),), 0.9), phrase), target)
    return {name: float(value) for name, value in metric.compute().items()}


def test_within_scenarios_an_image_is_asked_for_the_descriptions_of_its_own(tmp_path):
    dogs, hats = load(tmp_path, TWO)

    assert dogs.prompt.caption == "a dog on a leash. a dog without a leash"
    assert dogs.phrase_ids.tolist() == [1, 5]
    assert dogs.truth.shows.tolist() == [[True, False], [False, True]]
    assert hats.prompt.caption == "a blue hat"


def test_between_scenarios_every_image_is_asked_for_all(tmp_path):
    for sample in load(tmp_path, TWO, scenario="inter"):
        assert sample.prompt.phrases == tuple(DESCRIPTIONS.values())


def test_perfect_detections_score_one_in_all_settings(tmp_path):
    values = found_all(load(tmp_path, TWO))

    assert values["map"] == values["map_presence"] == values["map_absence"] == pytest.approx(1)


def test_presence_and_absence_are_averaged_among_themselves(tmp_path):
    values = found_all(load(tmp_path, TWO), wrong=[2])

    assert values["map"] == pytest.approx(2 / 3)
    assert values["map_presence"] == pytest.approx(1 / 2)
    assert values["map_absence"] == pytest.approx(1)


def test_a_kind_without_descriptions_is_undefined(tmp_path):
    values = found_all(load(tmp_path, TWO, absent=()))

    assert values["map_presence"] == pytest.approx(1)
    assert values["map_absence"] == -1


def test_a_described_thing_that_is_not_asked_for_is_no_miss(tmp_path):
    with_hat = {"dogs.png": [(1, BOX), (2, OTHER)], "hats.png": [(2, BOX)]}

    assert found_all(load(tmp_path, with_hat))["map"] == pytest.approx(1)


def test_images_of_a_scenario_without_descriptions_are_left_out(tmp_path):
    dataset = load(tmp_path, TWO, image_groups=(1, 9))

    assert len(dataset) == 1
    assert dataset.problems["image of a scenario without descriptions"] == ["hats.png"]


def test_a_file_without_the_fields_of_d3_is_refused(tmp_path):
    write_coco(tmp_path, TWO, names=DESCRIPTIONS)

    with pytest.raises(ValueError, match=r"lacks a field of D³ \(KeyError\('is_negative'\)\)"):
        DescribedDetection("annotations/train.json").load(tmp_path)


def test_an_unknown_scenario_is_refused():
    with pytest.raises(ValueError, match=r"no scenario 'both'; choose \"intra\""):
        DescribedDetection("a.json", scenario="both")


def test_the_average_of_a_group_is_that_of_its_categories(tmp_path):
    dataset = load(tmp_path, TWO)
    metric = DetectionAP(dataset.names_by_id, groups={"dogs": [1, 5], "first": [1]})
    for target in targets_of(collate(list(dataset), FakeTokenizer())):
        first = Detections(target.truth.boxes[:1], torch.tensor([0.9]), torch.tensor([0]))
        update(metric, first, target)
    values = {name: float(value) for name, value in metric.compute().items()}

    classes = [values[f"class/{DESCRIPTIONS[i]}"] for i in (1, 5)]
    assert values["map_dogs"] == pytest.approx(sum(classes) / 2)
    assert values["map_first"] == pytest.approx(classes[0])


def test_a_group_scores_what_its_categories_would_alone():
    pairs = random_pairs(30)
    every = DetectionAP(NAMES, groups={"pets": [2, 3]})
    alone = DetectionAP({i: NAMES[i] for i in (2, 3)})
    for found, target in pairs:
        update(every, found, target)
        pets = Target(
            replace(target.question, phrase_ids=target.question.phrase_ids[:2]),
            replace(target.truth, shows=target.truth.shows[:, :2]),
        )
        update(alone, found.select(found.phrases < 2), pets)

    expected = float(alone.compute()["map"])
    assert 0.1 < expected < 0.9
    assert float(every.compute()["map_pets"]) == pytest.approx(expected)


def test_the_keys_of_groups_are_there_without_images():
    values = DetectionAP({1: "cat"}, groups={"pets": [1]}).compute()

    assert float(values["map_pets"]) == -1


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"pets": [1, 4]}, "group 'pets' has the category id 4, which has no name"),
        ({"small": [1]}, "may not be named 'small': map_small is already"),
    ],
)
def test_groups_that_mean_nothing_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        DetectionAP({1: "cat"}, groups=groups)
