"""What annotations leave open is left out, by every command alike."""

import json
from pathlib import Path

import pytest
from helpers import write_image

from glip_pl.cli import main
from glip_pl.data import CategoryDetection, GroundingDataModule
from glip_pl.data.datasets.readable import leave_out_broken
from glip_pl.data.formats import detect_format

BOX = [4, 5, 20, 10]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def write_set(root: Path, images, files=None, *, bbox=BOX, categories=CATEGORIES, **more) -> Path:
    """Write COCO's JSON of (id, name) pairs, a cat on each, and the image files."""
    for name in files or [name for _, name in images]:
        write_image(root / "images" / name, 40, 60)
    size = {"height": 40, "width": 60}
    more = {"category_id": 1, **more}
    document = {
        "images": [{"id": i, "file_name": name, **size} for i, name in images],
        "annotations": [
            {"id": k, "image_id": i, "bbox": bbox, **more} for k, (i, _) in enumerate(images)
        ],
        "categories": categories,
    }
    (root / "annotations").mkdir()
    file = root / "annotations" / "train.json"
    file.write_text(json.dumps(document))
    return file


def load(root: Path, *, training: bool = True, **options) -> CategoryDetection:
    dataset = CategoryDetection("annotations/train.json", **options)
    dataset.load(root, training=training)
    return dataset


def read(root: Path):
    return detect_format(root).read(root)["train"]


def places(dataset: CategoryDetection) -> list[str]:
    return [dataset.image_path(record).name for record in dataset.records]


@pytest.mark.parametrize("ids", [(1, 1), ("007", "07"), ("7", 7), (7.0, 7)])
def test_images_whose_ids_are_one_number_are_left_out_everywhere(tmp_path, ids):
    write_set(tmp_path, [(ids[0], "a.png"), (ids[1], "b.png"), (9, "c.png")])

    assert places(load(tmp_path)) == ["c.png"]
    found = read(tmp_path)
    assert [record.file_name for record in found.records] == ["c.png"]
    assert len(found.problems["repeated image id"]) == 2


@pytest.mark.parametrize("image_id", [7.5, True, 1 << 70, "x", None])
def test_an_id_that_is_no_whole_number_names_no_image(tmp_path, image_id):
    write_set(tmp_path, [(image_id, "a.png"), (7, "b.png")])

    assert places(load(tmp_path)) == ["b.png"]
    assert len(read(tmp_path).records[0].annotations) == 1


def test_an_image_that_is_listed_twice_alike_stays_once(tmp_path):
    write_set(tmp_path, [(1, "a.png"), (1, "a.png")])

    assert places(load(tmp_path)) == ["a.png"]
    assert len(read(tmp_path).problems["repeated image id"]) == 1


def test_names_that_lead_to_one_file_are_left_out_everywhere(tmp_path):
    images = [(1, "cam1/1.png"), (2, "cam2/1.png"), (3, "cam1/2.png")]
    write_set(tmp_path, images, ["1.png", "2.png"])

    assert places(load(tmp_path)) == ["2.png"]
    assert [record.file_name for record in read(tmp_path).records] == ["2.png"]


@pytest.mark.parametrize(
    "folder", ["/home/me/project/images/", "C:\\Users\\me\\images\\", "..\\images\\", "./images/"]
)
def test_training_and_check_find_files_named_on_another_machine(tmp_path, folder):
    write_set(tmp_path, [(1, f"{folder}a.png"), (2, f"{folder}b.png")], ["a.png", "b.png"])

    assert places(load(tmp_path)) == ["a.png", "b.png"]
    assert [record.file_name for record in read(tmp_path).records] == ["a.png", "b.png"]


@pytest.mark.parametrize("caption", [None, "", " "])
def test_an_empty_caption_makes_no_captions_of_detection(tmp_path, caption):
    file = write_set(tmp_path, [(1, "a.png")])
    document = json.loads(file.read_text())
    document["images"][0]["caption"] = caption
    file.write_text(json.dumps(document))

    assert detect_format(tmp_path).name == "coco"
    assert places(load(tmp_path)) == ["a.png"]


def test_boxes_in_parts_of_the_image_are_told(tmp_path):
    write_set(tmp_path, [(1, "a.png")], bbox=[0.1, 0.2, 0.3, 0.4])

    (told,) = load(tmp_path).problems

    assert "smaller than a pixel" in told


def test_a_set_of_crowds_alone_is_told(tmp_path):
    write_set(tmp_path, [(1, "a.png")], iscrowd=1)

    (told,) = load(tmp_path).problems

    assert "all around crowds" in told


def test_training_on_crowds_alone_is_refused(tmp_path):
    write_set(tmp_path, [(1, "a.png")], iscrowd=1)

    train = [CategoryDetection("annotations/train.json")]
    data = GroundingDataModule(str(tmp_path), train, val={}, test={})

    with pytest.raises(ValueError, match="but for crowds, so that nothing can be"):
        data.setup("fit")


@pytest.mark.parametrize("fault", [{"bbox": [1, 2, 0, 0]}, {"category_id": 9}])
def test_training_and_convert_refuse_a_set_whose_boxes_are_all_left_out(tmp_path, capsys, fault):
    write_set(tmp_path, [(1, "a.png")], **fault)

    with pytest.raises(ValueError, match="every box"):
        load(tmp_path)
    with pytest.raises(SystemExit):
        main(["data", "convert", str(tmp_path), str(tmp_path / "out"), "--to=yolo"])
    assert "every box" in capsys.readouterr().err
    assert len(load(tmp_path, training=False).records) == 1


def test_categories_that_are_off_by_one_are_refused(tmp_path):
    file = write_set(tmp_path, [(1, "a.png"), (2, "b.png")])
    document = json.loads(file.read_text())
    for category, entry in enumerate(document["annotations"]):
        entry["category_id"] = category
    file.write_text(json.dumps(document))

    for reader in (load, read):
        with pytest.raises(ValueError, match="off by one"):
            reader(tmp_path)


def test_a_root_category_is_told_and_left_out_on_request(tmp_path, caplog):
    root = {"id": 0, "name": "pets", "supercategory": "none"}
    categories = [root, *({**c, "supercategory": "pets"} for c in CATEGORIES)]
    write_set(tmp_path, [(1, "a.png")], categories=categories)

    assert load(tmp_path).names == ["pets", "cat", "dog"]
    assert "leave_out: [0]" in caplog.text
    assert load(tmp_path, leave_out=[0]).names == ["cat", "dog"]


def test_a_broken_image_is_left_out_and_told_before_an_evaluation(tmp_path, caplog):
    write_set(tmp_path, [(1, "a.png"), (2, "b.png")])
    dataset = load(tmp_path, training=False)
    leave_out_broken(dataset)
    assert len(dataset.records) == 2
    file = tmp_path / "images" / "b.png"
    file.write_bytes(file.read_bytes()[:-200])

    with pytest.raises(ValueError, match=r"1 left out: truncated image file \(b\.png\)"):
        leave_out_broken(dataset, strict=True)

    leave_out_broken(dataset)

    assert list(dataset.records.file_names()) == ["a.png"]
    assert "1 left out: truncated image file (b.png)" in caplog.text
