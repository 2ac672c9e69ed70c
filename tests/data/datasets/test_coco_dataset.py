import json
import logging
from pathlib import Path

import pytest
import torch
from helpers import FakeTokenizer, write_coco, write_image
from loaded_sets import LoadedSet, loaded
from PIL import ImageFile
from test_data_commands import FAULTS, bomb, spoil

from glip_pl.data import CategoryDetection, collate
from glip_pl.data.formats.coco.coco import Coco
from glip_pl.prompts import PromptTemplate

CATS = '[{"id": 1, "name": "cat"}]'
NAMES = {0: "cat", 5: "dog", 90: "hair_drier"}


def load(
    root: Path, *, training: bool = False, max_tokens: int = 64, short_side=None, **options
) -> LoadedSet:
    dataset = CategoryDetection("annotations/train.json", **options)
    return loaded(dataset, root, training=training, max_tokens=max_tokens, short_side=short_side)


def test_an_evaluation_item_names_all_categories_in_the_order_of_their_ids(tmp_path):
    write_coco(tmp_path, {"a.png": [(90, (1, 2, 10, 20)), (0, (5, 5, 6, 7))]}, names=NAMES)

    sample = load(tmp_path)[0]

    assert sample.prompt.caption == "cat. dog. hair drier"
    assert sample.phrase_ids.tolist() == [0, 5, 90]
    assert sample.truth.boxes.tolist() == [[1, 2, 11, 22], [5, 5, 11, 12]]
    assert sample.truth.shows.tolist() == [[False, False, True], [True, False, False]]
    assert (sample.original_size, sample.image.shape) == ((40, 60), (40, 60, 3))
    assert sample.truth.image_id == 1


def test_a_batch_marks_the_tokens_of_each_name(tmp_path):
    write_coco(tmp_path, {"a.png": [(90, (1, 2, 10, 20))]}, names=NAMES)

    batch = collate([load(tmp_path)[0]], FakeTokenizer())

    #                      [CLS] cat . dog . hair drier [SEP]
    assert batch.questions[0].positive_map.int().tolist() == [
        [0, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 0],
    ]


def test_a_training_prompt_names_what_the_image_shows_among_negatives(tmp_path):
    boxes = [(5, (1, 2, 10, 20)), (5, (5, 5, 6, 7))]
    write_coco(tmp_path, {"a.png": boxes}, names={i: f"n{i}" for i in range(10)})
    dataset = load(tmp_path, training=True, max_negatives=3)

    samples = [dataset[0] for _ in range(20)]

    for sample in samples:
        assert 2 <= len(sample.prompt.phrases) <= 4
        assert sample.prompt.phrases == tuple(f"n{i}" for i in sample.phrase_ids.tolist())
        at = sample.phrase_ids.tolist().index(5)
        assert sample.truth.shows.sum() == 2
        assert sample.truth.shows[:, at].all()
    assert len({sample.prompt.caption for sample in samples}) > 5


def test_a_training_prompt_fills_the_token_budget_and_never_exceeds_it(tmp_path):
    names = {i: f"two words{i}" for i in range(20)}
    write_coco(tmp_path, {"a.png": [(7, (1, 2, 10, 20))]}, names=names)
    template = PromptTemplate("Find these: ", ". ", "!")
    # [CLS] Find these : + n * "two wordsN" + (n - 1) * "." + ! [SEP] is 5 + 3 n: 4 names fit in 17.
    dataset = load(tmp_path, training=True, max_tokens=17, template=template)
    tokenizer = FakeTokenizer(17)

    lengths = []
    for _ in range(30):
        sample = dataset[0]
        assert "two words7" in sample.prompt.phrases
        lengths.append(tokenizer([sample.prompt]).ids.shape[1])

    assert max(lengths) == 17


def test_names_of_one_image_that_exceed_the_budget_are_refused_by_image(tmp_path):
    boxes = [(0, (1, 2, 10, 20)), (5, (1, 2, 10, 20)), (90, (1, 2, 10, 20))]
    write_coco(tmp_path, {"crowded.png": boxes}, names=NAMES)

    with pytest.raises(ValueError, match=r"crowded\.png.*max_tokens"):
        load(tmp_path, training=True, max_tokens=7)


def test_a_fixed_prompt_names_all_categories_in_training_too(tmp_path):
    write_coco(tmp_path, {"a.png": [(5, (1, 2, 10, 20))]}, names=NAMES)
    dataset = load(tmp_path, training=True, fixed_prompt=True, max_negatives=0)

    assert {dataset[0].prompt.caption for _ in range(8)} == {"cat. dog. hair drier"}
    assert dataset[0].truth.shows.tolist() == [[False, True, False]]


def test_a_fixed_prompt_that_does_not_fit_is_refused(tmp_path):
    write_coco(tmp_path, {"a.png": []}, names=NAMES)

    # [CLS] cat . dog . hair drier [SEP] are 8 tokens.
    load(tmp_path, training=True, fixed_prompt=True, max_tokens=8)
    with pytest.raises(ValueError, match=r"names all 3 categories.*max_tokens.*fixed_prompt"):
        load(tmp_path, training=True, fixed_prompt=True, max_tokens=7)


def test_images_without_boxes_are_kept(tmp_path):
    write_coco(tmp_path, {"empty.png": []}, names=NAMES)

    sample = load(tmp_path)[0]

    assert sample.truth.boxes.shape == (0, 4)
    assert sample.truth.shows.shape == (0, 3)
    assert load(tmp_path, training=True)[0].prompt.phrases


def test_crowds_are_marked(tmp_path):
    path = write_coco(tmp_path, {"a.png": [(0, (1, 2, 3, 4)), (0, (5, 6, 7, 8))]}, names=NAMES)
    document = json.loads(path.read_text())
    document["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(document))

    assert load(tmp_path)[0].truth.crowd.tolist() == [False, True]


def test_an_impossible_box_is_left_out_and_counted(tmp_path):
    write_coco(tmp_path, {"a.png": [(0, (3, 4, 0, 10)), (0, (1, 1, 5, 5))]}, names=NAMES)

    dataset = load(tmp_path)

    assert dataset.problems == {"box without area": ["annotation 1 of image 1: [3, 4, 0, 10]"]}
    assert dataset[0].truth.boxes.tolist() == [[1, 1, 6, 6]]


def test_a_box_partly_outside_is_clipped_and_counted(tmp_path):
    write_coco(tmp_path, {"a.png": [(0, (-5, 30, 20, 20))]}, names=NAMES)

    dataset = load(tmp_path)

    assert dataset[0].truth.boxes.tolist() == [[0, 30, 15, 40]]
    assert dataset.problems == {
        "box clipped to its image": ["annotation 1 of image 1: [-5, 30, 20, 20]"]
    }


def test_a_box_past_the_border_by_rounding_is_no_problem(tmp_path):
    write_coco(tmp_path, {"a.png": [(0, (50, 30, 10.01, 10.01))]}, names=NAMES)

    dataset = load(tmp_path)

    assert dataset[0].truth.boxes.tolist() == [[50, 30, 60, 40]]
    assert dataset.problems == {}


def test_an_unknown_category_is_left_out_and_counted(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, names=NAMES)

    dataset = load(tmp_path)

    assert dataset.problems == {"annotation of an unknown category": ["annotation 1 of image 1: 1"]}
    assert len(dataset[0].truth.boxes) == 0


def test_an_annotation_of_an_unknown_image_is_counted(tmp_path):
    stray = [{"id": 8, "image_id": 77, "category_id": 0, "bbox": [1, 2, 3, 4]}]
    write_coco(tmp_path, {"a.png": []}, names=NAMES, annotations=stray)

    assert load(tmp_path).problems == {
        "annotation of an unknown image": ["annotation 8 of image 77"]
    }


def test_a_missing_image_file_is_left_out_and_counted_once(tmp_path):
    write_coco(tmp_path, {"a.png": [(0, (1, 2, 3, 4))], "b.png": []}, names=NAMES)
    (tmp_path / "images" / "a.png").unlink()

    dataset = load(tmp_path)

    assert len(dataset) == 1
    assert list(dataset.problems) == ["missing image file"]
    assert dataset.problems["missing image file"][0].endswith("a.png")


def test_images_that_share_an_id_are_left_out_and_counted(tmp_path):
    images = [
        {"id": i, "file_name": name, "height": 40, "width": 60}
        for i, name in ((1, "a.png"), (1, "b.png"), (2, "c.png"))
    ]
    boxes = {name: [(0, (1, 2, 3, 4))] for name in ("a.png", "b.png", "c.png")}
    write_coco(tmp_path, boxes, names=NAMES, images=images)

    dataset = load(tmp_path)

    assert [sample.truth.image_id for sample in dataset] == [2]
    assert dataset.problems["repeated image id"] == ["1 of a.png", "1 of b.png"]


def test_problems_are_logged_in_one_warning_with_three_examples_of_each_kind(tmp_path, caplog):
    boxes = [(0, (1, 1, 0, 0))] * 4 + [(0, (-5, 1, 9, 9))]
    write_coco(tmp_path, {"a.png": boxes}, names=NAMES)

    with caplog.at_level(logging.WARNING):
        load(tmp_path)

    (record,) = caplog.records
    message = record.getMessage()
    assert "train.json" in message
    three = "; ".join(f"annotation {i} of image 1: [1, 1, 0, 0]" for i in (1, 2, 3))
    assert f"4 left out: box without area ({three}; ...)" in message
    example = "annotation 5 of image 1: [-5, 1, 9, 9]"
    assert f"1 to be corrected: box clipped to its image ({example})" in message


def test_names_that_read_the_same_in_a_prompt_are_refused(tmp_path):
    write_coco(tmp_path, {"a.png": []}, names={1: "hair_drier", 2: "hair drier"})

    with pytest.raises(ValueError, match=r"'hair_drier' and 'hair drier'.*rename"):
        load(tmp_path)


@pytest.mark.parametrize("training", [True, False])
def test_names_that_a_model_may_mistake_are_told(tmp_path, caplog, training):
    names = {1: "bow_(weapon)", 2: "bow_(decorative_ribbons)", 3: "cat", 4: "Cat"}
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, names=names)

    load(tmp_path, training=training)

    assert "the names of annotations/train.json:" in caplog.text
    assert "2 names told apart only by their notes" in caplog.text


@pytest.mark.parametrize("training", [True, False])
def test_a_name_too_long_for_any_prompt_is_refused(tmp_path, training):
    names = {1: "cat", 2: "a very long name of a thing"}
    write_coco(tmp_path, {"a.png": []}, names=names)

    with pytest.raises(ValueError, match=r"'a very long name of a thing' .* room for 4"):
        load(tmp_path, training=training, max_tokens=6)


def test_a_missing_annotation_file_tells_what_to_pass(tmp_path):
    with pytest.raises(ValueError, match=r"train\.json.*--data\.root=PATH"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot read"),
        ("[]", "not in COCO form"),
        ('{"images": [], "annotations": []}', "no list categories"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": ' + CATS + "}",
            "1 x image entry",
        ),
        ('{"images": [], "annotations": [], "categories": []}', "no categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "category"),
    ],
)
def test_a_file_that_is_not_coco_is_refused(tmp_path, text, complaint):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text(text)

    with pytest.raises(ValueError, match=complaint):
        load(tmp_path)


def test_a_set_whose_images_are_all_elsewhere_is_refused(tmp_path):
    write_coco(tmp_path, {"a.png": [], "b.png": []}, names=NAMES)

    with pytest.raises(ValueError, match=r"2 x missing image file \(.*a\.png\).*--data\.root"):
        load(tmp_path, images="photos")


def test_training_takes_the_next_image_for_a_broken_one_and_warns_once(tmp_path, caplog):
    write_coco(tmp_path, {"a.png": [], "b.png": [], "c.png": []}, names=NAMES)
    (tmp_path / "images" / "c.png").write_bytes(b"broken")
    dataset = load(tmp_path, training=True)

    ids = [dataset[2].truth.image_id, dataset[2].truth.image_id]

    assert ids == [1, 1]
    assert len(caplog.records) == 1
    assert "c.png" in caplog.text
    assert len(dataset.problems["unreadable image file"]) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_training_counts_broken_images_by_what_is_wrong_with_them(tmp_path, fault):
    write_coco(tmp_path, {"a.png": [], "b.png": []}, names=NAMES)
    dataset = load(tmp_path, training=True)
    spoil(tmp_path / "images/a.png", fault)

    assert dataset[0].truth.image_id == 2

    assert dataset.problems == {fault: [str(tmp_path / "images/a.png")]}


def test_the_pixels_of_an_enormous_image_are_not_decoded_in_training(tmp_path, monkeypatch):
    write_coco(tmp_path, {"a.png": [], "b.png": []}, names=NAMES)
    dataset = load(tmp_path)
    (tmp_path / "images/a.png").write_bytes(bomb(10_001))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))

    with pytest.raises(ValueError, match="10001 x 10001 pixels, too many"):
        dataset[0]


def test_training_leaves_out_for_the_same_reasons_as_a_check(tmp_path):
    file = write_coco(tmp_path, {"a.png": [(0, (1, 2, 3, 4))], "b.png": []}, names=NAMES)
    document = json.loads(file.read_text())
    image = {"height": 40, "width": 60}
    document["images"] += [
        None,
        {"id": "three", "file_name": "b.png", **image},
        {"id": 4, "file_name": "b.png", "height": 0, "width": 60},
        {"id": 5, "file_name": "../train.json", **image},
        {"id": 6, "file_name": "x" * 5000, **image},
        {"id": 2, "file_name": "b.png", **image},
    ]
    document["annotations"] += [
        None,
        {"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": "2", "category_id": "5", "bbox": ["1", "2", "3", "4"]},
        {"id": 3, "image_id": [1], "category_id": 0, "bbox": [1, 2, 3, 4]},
        {"id": 4, "image_id": 1, "category_id": [0], "bbox": [1, 2, 3, 4]},
        {"id": 5, "image_id": 1, "category_id": 0, "bbox": [10**400, 2, 3, 4]},
        {"id": 6, "image_id": 1, "category_id": 0, "bbox": [5, 5, -2, 3]},
    ]
    file.write_text(json.dumps(document))

    dataset = load(tmp_path)
    checked = Coco().read(tmp_path)["train"]

    assert {kind: len(found) for kind, found in dataset.problems.items()} == {
        kind: len(found) for kind, found in checked.problems.items()
    }
    assert len(dataset.problems) == 9
    assert [len(sample.truth.boxes) for sample in dataset] == [2, 1]
    assert [len(record.annotations) for record in checked.records] == [2, 1]


def test_training_without_any_readable_image_is_an_error(tmp_path):
    write_coco(tmp_path, {"a.png": []}, names=NAMES)
    (tmp_path / "images" / "a.png").write_bytes(b"broken")

    with pytest.raises(ValueError, match="none of the 1 images"):
        load(tmp_path, training=True)[0]


def test_evaluation_stops_at_a_broken_image(tmp_path):
    write_coco(tmp_path, {"a.png": [], "b.png": []}, names=NAMES)
    (tmp_path / "images" / "b.png").write_bytes(b"broken")

    with pytest.raises(ValueError, match=r"b\.png.*leave it out"):
        load(tmp_path)[1]


def test_an_image_of_another_size_than_recorded_is_refused(tmp_path):
    write_coco(tmp_path, {"a.png": []}, names=NAMES)
    write_image(tmp_path / "images" / "a.png", 60, 40)

    with pytest.raises(ValueError, match=r"a\.png.*\(60, 40\).*\(40, 60\)"):
        load(tmp_path)[0]


def test_boxes_follow_an_image_that_is_decoded_small(tmp_path):
    write_coco(tmp_path, {"a.jpg": [(5, (20, 40, 100, 60))]}, names=NAMES, size=(160, 320))

    sample = load(tmp_path, short_side=80)[0]

    assert sample.image.shape == (80, 160, 3)
    assert sample.truth.boxes.tolist() == [[10, 20, 60, 50]]
    assert sample.original_size == (160, 320)


def test_iteration_ends_after_the_last_image(tmp_path):
    write_coco(tmp_path, {"a.png": [], "b.png": []}, names=NAMES)

    assert [sample.truth.image_id for sample in load(tmp_path)] == [1, 2]


def test_changing_a_sample_does_not_change_the_data_set(tmp_path):
    write_coco(tmp_path, {"a.png": [(0, (1, 2, 3, 4))]}, names=NAMES)
    dataset = load(tmp_path)

    dataset[0].truth.boxes.mul_(0)

    assert torch.equal(dataset[0].truth.boxes, torch.tensor([[1.0, 2.0, 4.0, 6.0]]))
