import numpy as np
import pytest
from test_lvis_metric import AWAY, BOX, CAT, DOG, FREQUENCY, OWL, add, as_coco, lvis_json, values

from glip_pl.metrics import LVISAP
from glip_pl.metrics.bootstrap import draws
from glip_pl.results.class_precision import class_groups, class_precision
from glip_pl.results.judge import judge
from glip_pl.results.run_files import Run


def run_of(document, found, *, protocol="fixed", limit=10_000):
    """A run of LVIS as its files tell it; found are (box, score, category) per image."""
    record = {
        "categories": {str(entry["id"]): entry["name"] for entry in document["categories"]},
        "metric": {
            "class": "LVISAP",
            "settings": {"protocol": protocol, "max_detections": limit},
            "groups": {"rare": [OWL], "common": [DOG], "frequent": [CAT]},
        },
    }
    images = [{**entry, "file_name": f"{entry['id']}.jpg"} for entry in document["images"]]
    lists = {"images": images, "truth": document["annotations"], "detections": as_coco(found)}
    return Run(record, lists, {})


def measured(document, found, *, protocol="fixed", limit=10_000):
    metric = LVISAP(document, protocol=protocol, max_detections=limit)
    for image, entries in found.items():
        add(metric, image, *entries)
    return values(metric)


def federated(seed, count=30):
    """Images labelled for some categories, and boxes in whole pixels; many equal scores."""
    generator = np.random.default_rng(seed)
    images, boxes, found = [], [], {}
    for image in range(1, count + 1):
        present = [c for c in FREQUENCY if generator.random() < 0.5]
        absent = [c for c in FREQUENCY if c not in present and generator.random() < 0.5]
        incomplete = [c for c in present if generator.random() < 0.3]
        images.append((image, absent, incomplete))
        entries = []
        for category in present:
            for _ in range(generator.integers(1, 4)):
                corner = generator.integers(0, 200, 2)
                box = np.concatenate([corner, corner + generator.integers(10, 90, 2)])
                boxes.append((image, category, box.tolist()))
                near = box + generator.integers(-4, 5, 4)
                named = category if generator.random() < 0.8 else int(generator.choice([2, 3, 7]))
                entries.append((near.astype(float).tolist(), named))
        entries += [([0.0, 0.0, 50.0, 60.0], c) for c in FREQUENCY if generator.random() < 0.5]
        found[image] = [
            (box, float(generator.integers(1, 9)) / 8, category) for box, category in entries
        ]
    document = lvis_json(images, boxes)
    for entry in document["annotations"]:
        entry["bbox"] = [float(side) for side in entry["bbox"]]
    return document, found


def every_image(run):
    return {image["file_name"]: i for i, image in enumerate(run.lists["images"])}


@pytest.mark.parametrize("protocol", ["fixed", "standard"])
@pytest.mark.parametrize("limit", [10_000, 20, 3])
@pytest.mark.parametrize("seed", range(3))
def test_with_every_image_once_ap_is_exactly_the_metrics(protocol, limit, seed):
    options = {"protocol": protocol, "limit": limit}
    document, found = federated(seed)
    run = run_of(document, found, **options)

    scores = {score.name: score.first for score in judge(run, run, samples=2, seed=0).scores}

    expected = measured(document, found, **options)
    assert 0 < expected["map"] < 1
    names = {"AP": "map", "AP50": "map_50", "AP75": "map_75"}
    names |= {f"AP {group}": f"map_{group}" for group in ("rare", "common", "frequent")}
    assert scores == pytest.approx(
        {ours: expected[name] for ours, name in names.items()}, abs=1e-12
    )


def copied(document, found, times):
    """The same set with image i present times[i] times, under ids of its own."""
    images, annotations, seen = [], [], {}
    for image, number in zip(document["images"], times, strict=True):
        for copy in range(number):
            new = 100 * image["id"] + copy
            images.append({**image, "id": new})
            seen[new] = found[image["id"]]
            annotations += [
                {**entry, "id": 100 * entry["id"] + copy, "image_id": new}
                for entry in document["annotations"]
                if entry["image_id"] == image["id"]
            ]
    return {**document, "images": images, "annotations": annotations}, seen


@pytest.mark.parametrize("limit", [10_000, 20])
def test_an_image_drawn_three_times_counts_like_three_images(limit):
    document, found = federated(4)
    # Without equal scores, which would take turns between the copies of an image.
    for place, entries in enumerate(found.values()):
        found[place + 1] = [
            (b, s + (place + n / 50) / 500, c) for n, (b, s, c) in enumerate(entries)
        ]
    times = [3, 0, 2, *[1] * 27]
    run = run_of(document, found, limit=limit)

    classes = class_precision(run, every_image(run), np.array([times], dtype=np.float32))

    expected = measured(*copied(document, found, times), limit=limit)
    by_name = {name: of_class.values.mean() for name, of_class in classes.items()}
    assert by_name == pytest.approx(
        {
            str(CAT): expected["map_frequent"],
            str(DOG): expected["map_common"],
            str(OWL): expected["map_rare"],
        },
        abs=1e-12,
    )


def test_the_limit_counts_the_detections_of_a_draw():
    # Two may stay: image 1 twice leaves no room for the cat of image 2.
    document = lvis_json([(1, [], []), (2, [], [])], [(1, CAT, BOX), (2, CAT, BOX)])
    run = run_of(document, {1: [(BOX, 0.9, CAT)], 2: [(BOX, 0.8, CAT)]}, limit=2)
    weights = np.array([[1, 1], [2, 1]], dtype=np.float32)

    cat = class_precision(run, every_image(run), weights)[str(CAT)]

    # Precision is 1 at the recalls 0.00 to 0.66, two of three.
    assert cat.values[:, 0] == pytest.approx([1, 67 / 101])


def test_a_draw_of_the_image_with_the_false_alarm_lowers_ap():
    # Image 2 was searched for cats and has none; image 3 was not searched.
    document = lvis_json([(1, [], []), (2, [CAT], []), (3, [], [])], [(1, CAT, BOX)])
    found = {1: [(BOX, 0.5, CAT)], 2: [(BOX, 0.9, CAT)], 3: [(BOX, 0.9, CAT)]}
    run = run_of(document, found)
    weights = np.array([[1, 1, 1], [1, 2, 0], [1, 0, 2], [2, 1, 0]], dtype=np.float32)

    cat = class_precision(run, every_image(run), weights)[str(CAT)]

    # Hits among what is judged: 1 of 2, 1 of 3, 1 of 1, 2 of 3.
    assert cat.values.mean(1) == pytest.approx([1 / 2, 1 / 3, 1, 2 / 3])


def test_a_run_does_not_differ_from_itself():
    run = run_of(*federated(1))

    judgement = judge(run, run, samples=50, seed=0)

    every = [*judgement.scores, *judgement.classes]
    assert {(score.difference, score.low, score.high) for score in every} == {(0, 0, 0)}
    assert len(judgement.classes) == 3


def test_finding_more_is_better_beyond_noise_in_the_group_it_concerns():
    document, found = federated(2, count=60)
    blind = {image: [e for e in entries if e[2] != OWL] for image, entries in found.items()}

    scores = {
        score.name: score
        for score in judge(
            run_of(document, blind), run_of(document, found), samples=100, seed=0
        ).scores
    }

    assert 0 < scores["AP rare"].low < scores["AP rare"].difference < scores["AP rare"].high
    assert scores["AP"].beyond_noise
    assert not scores["AP common"].beyond_noise


def test_a_class_with_boxes_in_one_image_has_no_interval():
    document = lvis_json([(1, [], []), (2, [], [])], [(1, CAT, BOX), (1, DOG, AWAY), (2, DOG, BOX)])
    nothing = run_of(document, {1: []})
    run = run_of(document, {1: [(BOX, 0.9, CAT), (AWAY, 0.9, DOG)]})

    cat, dog = judge(nothing, run, samples=50, seed=0).classes

    assert (cat.difference, cat.low, cat.beyond_noise) == (1, None, False)
    assert dog.low is not None


def test_categories_of_one_name_stay_apart():
    document = lvis_json([(1, [], [])], [(1, CAT, BOX), (1, DOG, AWAY)])
    for entry in document["categories"]:
        entry["name"] = "bow"
    run = run_of(document, {1: [(BOX, 0.9, CAT)]})

    classes = class_precision(run, every_image(run), draws(1, 2))

    assert set(classes) == {"bow (id 2)", "bow (id 3)"}
    assert class_groups(run)["frequent"] == ["bow (id 2)"]


def test_images_that_do_not_tell_what_they_were_labelled_for_are_refused():
    document, found = federated(0)
    del document["images"][0]["neg_category_ids"]
    run = run_of(document, found)

    with pytest.raises(ValueError, match=r"'1.jpg' .* no 'neg_category_ids'.*`glip test` again"):
        judge(run, run, samples=2, seed=0)
