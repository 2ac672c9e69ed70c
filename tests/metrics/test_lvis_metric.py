import contextlib
import io

import pytest
import torch
from helpers import make_target, update
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from glip_pl.metrics import LVISAP
from glip_pl.metrics import lvis_ap as lvis
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Detections

CAT, DOG, OWL = 2, 3, 7
FREQUENCY = {CAT: "f", DOG: "c", OWL: "r"}
BOX = (10.0, 20.0, 60.0, 90.0)
AWAY = (300.0, 300.0, 350.0, 380.0)

# How LVIS names what it measures.
OFFICIAL = {
    "AP": "map",
    "AP50": "map_50",
    "AP75": "map_75",
    "APs": "map_small",
    "APm": "map_medium",
    "APl": "map_large",
    "APr": "map_rare",
    "APc": "map_common",
    "APf": "map_frequent",
}


def lvis_json(images, boxes, frequency=FREQUENCY):
    """Images are (id, negatives, not exhaustive); boxes are (image, category, xyxy)."""
    return {
        "images": [
            {"id": i, "neg_category_ids": list(no), "not_exhaustive_category_ids": list(some)}
            for i, no, some in images
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for number, (image, category, (x1, y1, x2, y2)) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": i, "name": str(i), "frequency": f} for i, f in frequency.items()],
    }


def add(metric, image, *found, prompt=(CAT, DOG, OWL)):
    """Update with one image; found are (box, score, category)."""
    boxes, scores, categories = zip(*found, strict=True) if found else ((), (), ())
    detections = Detections(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor([prompt.index(c) for c in categories], dtype=torch.long),
    )
    asked = PromptTemplate().join([str(c) for c in prompt])
    target = make_target([], [], asked, prompt, image_id=image, size=(480, 640))
    update(metric, detections, target)


def values(metric):
    return {name: float(value) for name, value in metric.compute().items()}


def random_set(count, categories=(CAT, DOG, OWL)):
    """An exhaustive set, and per image jittered, misnamed and invented boxes; many equal scores."""
    torch.manual_seed(0)
    images, boxes, found = [], [], {}
    for image in range(100, 100 + count):
        number = int(torch.randint(0, 6, ()))
        corner, extent = torch.rand(number, 2) * 300, 8 + torch.rand(number, 2) ** 2 * 250
        true = torch.cat([corner, corner + extent], dim=1)
        named = torch.tensor(categories)[torch.randint(0, 3, (number,))]
        boxes += [(image, int(c), box) for c, box in zip(named, true.tolist(), strict=True)]
        absent = set(categories) - set(named.tolist())
        images.append((image, absent, ()))
        guesses = true.repeat(2, 1) + torch.randn(2 * number, 4) * 6
        guesses = torch.cat([guesses, torch.tensor([[5.0, 5.0, 80.0, 70.0]])])
        guessed = torch.tensor(categories)[torch.randint(0, 3, (number + 1,))]
        scores = (torch.rand(len(guesses)) * 10).round() / 10
        names = torch.cat([named, guessed]).tolist()
        found[image] = list(zip(guesses.tolist(), scores.tolist(), names, strict=True))
    return lvis_json(images, boxes), found


def as_coco(found):
    """Detections (box, score, category) per image, as COCO's results are written."""
    return [
        {
            "image_id": image,
            "category_id": category,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, entries in found.items()
        for (x1, y1, x2, y2), score, category in entries
    ]


def coco_summary(document, found):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = document
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(as_coco(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(OFFICIAL.values(), evaluation.stats[:6], strict=False))


def test_where_all_categories_are_labelled_everywhere_it_is_cocos_ap():
    document, found = random_set(40)
    metric = LVISAP(document)
    for image, entries in found.items():
        add(metric, image, *entries)

    expected = coco_summary(document, found)
    ours = values(metric)

    assert 0.1 < expected["map"] < 0.9
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_perfect_detections_score_one():
    metric = LVISAP(lvis_json([(1, [], []), (2, [CAT], [])], [(1, CAT, BOX), (2, DOG, AWAY)]))
    add(metric, 1, (BOX, 0.9, CAT))
    add(metric, 2, (AWAY, 0.8, DOG))

    ours = values(metric)

    undefined = ("map_small", "map_large", "map_rare")
    expected = {name: -1 if name in undefined else 1 for name in OFFICIAL.values()}
    assert ours == pytest.approx(expected)


def test_finding_nothing_scores_zero():
    metric = LVISAP(lvis_json([(1, [], [])], [(1, CAT, BOX)]))
    add(metric, 1)

    assert values(metric)["map"] == 0


def test_no_image_leaves_everything_undefined():
    metric = LVISAP(lvis_json([(1, [], [])], [(1, CAT, BOX)]))

    assert values(metric) == dict.fromkeys(OFFICIAL.values(), -1)


@pytest.mark.parametrize(
    ("negatives", "incomplete", "expected"),
    [
        ([CAT], [], 0.5),  # The cat was looked for and is not there.
        ([], [], 1),  # Nobody looked for cats.
    ],
)
def test_a_false_alarm_counts_only_where_its_category_was_looked_for(
    negatives, incomplete, expected
):
    metric = LVISAP(lvis_json([(1, [], []), (2, negatives, incomplete)], [(1, CAT, BOX)]))
    add(metric, 1, (BOX, 0.5, CAT))
    add(metric, 2, (BOX, 0.9, CAT))

    assert values(metric)["map"] == pytest.approx(expected)


@pytest.mark.parametrize(("incomplete", "expected"), [([], 0.5), ([CAT], 1), ([DOG], 0.5)])
def test_a_stray_detection_is_no_mistake_where_boxes_of_its_category_are_missing(
    incomplete, expected
):
    metric = LVISAP(lvis_json([(1, [], incomplete)], [(1, CAT, BOX)]))
    add(metric, 1, (AWAY, 0.9, CAT), (BOX, 0.5, CAT))

    assert values(metric)["map"] == pytest.approx(expected)


def test_the_fixed_protocol_keeps_the_best_of_each_category_over_all_images():
    boxes = [(1, CAT, BOX), (2, CAT, BOX), (2, DOG, BOX)]
    metric = LVISAP(lvis_json([(1, [], []), (2, [], [])], boxes), max_detections=1)
    add(metric, 1, (BOX, 0.9, CAT))
    add(metric, 2, (BOX, 0.8, CAT), (BOX, 0.1, DOG))

    ours = values(metric)

    # One of two cats is found: precision is 1 at the 51 recalls up to 0.50 of 0.00 to 1.00.
    assert ours["map_frequent"] == pytest.approx(51 / 101)
    assert ours["map_common"] == pytest.approx(1)


def test_the_standard_protocol_keeps_the_best_of_each_image_over_all_categories():
    boxes = [(1, CAT, BOX), (2, CAT, BOX), (2, DOG, BOX)]
    document = lvis_json([(1, [], []), (2, [], [])], boxes)
    metric = LVISAP(document, protocol="standard", max_detections=1)
    add(metric, 1, (BOX, 0.9, CAT))
    add(metric, 2, (BOX, 0.8, CAT), (BOX, 0.1, DOG))

    ours = values(metric)

    assert ours["map_frequent"] == pytest.approx(1)
    assert ours["map_common"] == 0


def test_detections_that_nobody_labelled_take_room_as_in_official_glip():
    metric = LVISAP(lvis_json([(1, [], []), (2, [], [])], [(1, CAT, BOX)]), max_detections=1)
    add(metric, 1, (BOX, 0.5, CAT))
    add(metric, 2, (BOX, 0.9, CAT))

    assert values(metric)["map"] == 0


def test_the_average_over_all_is_that_over_the_categories_with_boxes():
    metric = LVISAP(lvis_json([(1, [OWL], [])], [(1, CAT, BOX), (1, DOG, AWAY)]))
    add(metric, 1, (BOX, 0.9, CAT), (BOX, 0.9, OWL))

    ours = values(metric)

    assert ours["map"] == pytest.approx(0.5)
    assert [ours[f"map_{name}"] for name in ("frequent", "common", "rare")] == [
        pytest.approx(1),
        0,
        -1,
    ]


def test_sizes_are_the_areas_of_the_annotations():
    document = lvis_json([(1, [], [])], [(1, CAT, BOX)])
    document["annotations"][0]["area"] = 900.0
    metric = LVISAP(document)
    add(metric, 1, (BOX, 0.9, CAT))

    ours = values(metric)

    # The box has 3,500 pixels and would be medium.
    assert ours["map_small"] == pytest.approx(1)
    assert ours["map_medium"] == -1


def test_an_image_may_come_once_with_each_of_its_prompts():
    metric = LVISAP(lvis_json([(1, [], [])], [(1, CAT, BOX), (1, DOG, AWAY)]))
    add(metric, 1, (BOX, 0.9, CAT), prompt=(CAT,))
    add(metric, 1, (AWAY, 0.9, DOG), prompt=(DOG, OWL))

    assert values(metric)["map"] == pytest.approx(1)


def test_images_that_were_not_seen_do_not_count():
    metric = LVISAP(lvis_json([(1, [], []), (2, [], [])], [(1, CAT, BOX), (2, CAT, BOX)]))
    add(metric, 1, (BOX, 0.9, CAT))

    assert values(metric)["map"] == pytest.approx(1)


def test_reset_forgets_all_images():
    metric = LVISAP(lvis_json([(1, [], []), (2, [], [])], [(1, CAT, BOX), (2, CAT, BOX)]))
    add(metric, 1)
    metric.reset()
    add(metric, 2, (BOX, 0.9, CAT))

    assert values(metric)["map"] == pytest.approx(1)


@pytest.mark.parametrize("protocol", ["fixed", "standard"])
@pytest.mark.parametrize("split", [0, 3, 17])
def test_any_split_among_processes_gives_the_same_result(protocol, split):
    document, found = random_set(20)
    # Small limits: some detections are left out, and equal scores decide which.
    options = {"protocol": protocol, "max_detections": 15 if protocol == "fixed" else 3}
    alone, here, there = (LVISAP(document, **options) for _ in range(3))
    for k, (image, entries) in enumerate(found.items()):
        add(alone, image, *entries)
        # The later images lie here, so that the gathered tables are not in the order of images.
        add(there if k < split else here, image, *entries)
    # What two processes would exchange: the tables of the states, in the order of their names.
    sent = iter([torch.cat(getattr(there, state)) for state in there.metric_state])
    here.dist_sync_fn = lambda table, group=None: [table, next(sent)]
    here.distributed_available_fn = lambda: True

    assert values(here) == values(alone)


@pytest.mark.parametrize("protocol", ["fixed", "standard"])
def test_dropping_early_what_will_not_be_kept_changes_nothing(monkeypatch, protocol):
    document, found = random_set(20)
    late = LVISAP(document, protocol=protocol, max_detections=3)
    early = LVISAP(document, protocol=protocol, max_detections=3)
    for image, entries in found.items():
        add(late, image, *entries)
    monkeypatch.setattr(lvis, "_PRUNE_EVERY", 0)
    for image, entries in found.items():
        add(early, image, *entries)

    assert len(early.table("found_scores")) < len(late.table("found_scores"))
    assert values(early) == values(late)


def test_annotations_without_lists_of_negatives_are_refused():
    document = lvis_json([(1, [], [])], [(1, CAT, BOX)])
    del document["images"][0]["neg_category_ids"]

    with pytest.raises(ValueError, match=r"LVIS v1: 'neg_category_ids' is missing.*DetectionAP"):
        LVISAP(document)


def test_an_image_of_another_set_is_refused():
    metric = LVISAP(lvis_json([(1, [], [])], [(1, CAT, BOX)]))

    with pytest.raises(ValueError, match="annotations have no image 2"):
        add(metric, 2)


def test_a_category_of_another_set_is_refused():
    metric = LVISAP(lvis_json([(1, [], [])], [(1, CAT, BOX)]))

    with pytest.raises(ValueError, match="annotations have no category 5"):
        add(metric, 1, prompt=(CAT, 5))


@pytest.mark.parametrize("options", [{"protocol": "federated"}, {"max_detections": -1}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=r"'federated'; choose|-1; give 1 or more"):
        LVISAP(lvis_json([(1, [], [])], [(1, CAT, BOX)]), **options)
