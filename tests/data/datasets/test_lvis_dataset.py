import json

import pytest
import torch
from helpers import FakeTokenizer, targets_of, update, write_coco
from loaded_sets import loaded

from glip_pl.data import LvisDetection, collate
from glip_pl.data.datasets import lvis_detection
from glip_pl.structures import Detections

NAMES = {1: "cat", 2: "dog", 7: "owl"}
FREQUENCY = {1: "f", 2: "c", 7: "r"}
BOX, OTHER = (1, 2, 10, 20), (30, 5, 10, 10)


def load(root, boxes, *, negatives=((), ()), **options):
    path = write_coco(root, boxes, names=NAMES)
    document = json.loads(path.read_text())
    for category in document["categories"]:
        category["frequency"] = FREQUENCY[category["id"]]
    for image, absent in zip(document["images"], negatives, strict=True):
        # LVIS gives the address instead of the name of the file.
        name = image.pop("file_name")
        image["coco_url"] = f"http://images.cocodataset.org/images/{name}"
        image |= {"neg_category_ids": list(absent), "not_exhaustive_category_ids": []}
    for annotation in document["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    path.write_text(json.dumps(document))
    return loaded(LvisDetection("annotations/train.json", **options), root)


TWO = {"a.png": [(1, BOX), (2, OTHER)], "b.png": [(7, BOX)]}


def result(dataset, found):
    """Evaluate; found are (box as xyxy, score, phrase) per image."""
    metric = dataset.make_metric()
    targets = targets_of(collate(list(dataset), FakeTokenizer()))
    for target, entries in zip(targets, found, strict=True):
        boxes, scores, phrases = zip(*entries, strict=True)
        boxes = torch.tensor(boxes, dtype=torch.float).reshape(-1, 4)
        update(metric, Detections(boxes, torch.tensor(scores), torch.tensor(phrases)), target)
    return {name: float(value) for name, value in metric.compute().items()}


BOX_XYXY, OTHER_XYXY = (1, 2, 11, 22), (30, 5, 40, 15)
RIGHT = [[(BOX_XYXY, 0.9, 0), (OTHER_XYXY, 0.8, 1)], [(BOX_XYXY, 0.7, 2)]]


def test_images_are_found_by_the_end_of_their_address(tmp_path):
    dataset = load(tmp_path, TWO)

    assert [dataset.image_path(record).name for record in dataset.records] == ["a.png", "b.png"]
    assert dataset[0].prompt.phrases == ("cat", "dog", "owl")
    assert dataset[0].truth.boxes.tolist() == [list(BOX_XYXY), list(OTHER_XYXY)]


def test_perfect_detections_score_one_for_every_frequency(tmp_path):
    values = result(load(tmp_path, TWO), RIGHT)

    assert [values[f"map_{name}"] for name in ("rare", "common", "frequent")] == [
        pytest.approx(1)
    ] * 3
    assert values["map"] == pytest.approx(1)


def test_names_keep_their_notes_only_where_they_need_them(tmp_path):
    names = {1: "bow_(weapon)", 2: "bow_(decorative_ribbons)", 3: "flip-flop_(sandal)"}
    write_coco(tmp_path, {"a.png": [(1, BOX)]}, names=names)
    dataset = LvisDetection("annotations/train.json", "images")
    dataset.load(tmp_path)

    assert dataset.names == ["bow (weapon)", "bow (decorative ribbons)", "flip-flop"]


def test_a_category_is_judged_only_where_it_was_looked_for(tmp_path):
    false_alarm = [RIGHT[0], [*RIGHT[1], (OTHER_XYXY, 0.95, 0)]]

    unlabelled = result(load(tmp_path / "one", TWO), false_alarm)
    absent = result(load(tmp_path / "two", TWO, negatives=((), (1,))), false_alarm)

    assert unlabelled["map_frequent"] == pytest.approx(1)
    assert absent["map_frequent"] == pytest.approx(1 / 2)


def test_the_protocol_is_fixed_unless_asked_otherwise(tmp_path):
    assert load(tmp_path, TWO).make_metric().protocol == "fixed"
    assert load(tmp_path, TWO, ap="standard").make_metric().protocol == "standard"


def test_masks_are_not_kept(tmp_path, monkeypatch):
    path = write_coco(tmp_path, {"a.png": [(1, BOX)]}, names=NAMES)
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    path.write_text(json.dumps(document))
    dataset = LvisDetection("annotations/train.json", "images")
    dataset.load(tmp_path)

    monkeypatch.setattr(lvis_detection, "LVISAP", lambda judged, protocol: judged)
    judged = dataset.make_metric()

    assert set(judged["annotations"][0]) == {"id", "image_id", "category_id", "bbox"}


def test_a_file_that_is_not_of_lvis_has_no_such_metric(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, BOX)]}, names=NAMES)
    dataset = LvisDetection("annotations/train.json", "images")
    dataset.load(tmp_path)

    with pytest.raises(ValueError, match="not in the form of LVIS v1"):
        dataset.make_metric()
