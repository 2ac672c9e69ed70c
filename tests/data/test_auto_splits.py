import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_image

from glip_pl.data import CategoryDetection
from glip_pl.data.auto_splits import auto_split
from glip_pl.data.formats import FORMATS, Annotation, AnnotationSet, Record, detect_format
from glip_pl.data.read_back import refuse_other
from glip_pl.data.sources import MOST_BOXES, TOO_MANY, read_split

VOC = (
    "<annotation><filename>{}</filename><size><width>20</width><height>10</height></size><object>"
    "<name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    "</object></annotation>"
)
YOLO = "0 0.5 0.5 0.5 1\n"
STUDIO = [
    {
        "original_width": 20,
        "original_height": 10,
        "value": {"x": 0, "y": 0, "width": 20, "height": 40, "rectanglelabels": ["cat"]},
    }
]


def coco(*names: str) -> str:
    images = [{"id": i, "file_name": n, "height": 10, "width": 20} for i, n in enumerate(names)]
    found = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 4, 4]} for i in range(len(names))
    ]
    categories = [{"id": 1, "name": "cat"}]
    return json.dumps({"images": images, "annotations": found, "categories": categories})


def tasks(*names: str) -> str:
    return json.dumps([{"data": {"image": n}, "annotations": [{"result": STUDIO}]} for n in names])


def cvat(*names: str) -> str:
    box = '<box label="cat" xtl="0" ytl="0" xbr="4" ybr="4"/>'
    images = "".join(f'<image name="{n}" width="20" height="10">{box}</image>' for n in names)
    return f"<annotations><meta></meta>{images}</annotations>"


LAYOUTS = {
    "roboflow coco": {
        f"{split}/{name}": coco("a.jpg") if name.endswith("json") else ""
        for split in ("train", "valid", "test")
        for name in ("_annotations.coco.json", "a.jpg")
    },
    "roboflow yolo": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "nc: 1\nnames: ['cat']\n",
        **{
            f"{split}/{name}": YOLO if name.endswith("txt") else ""
            for split in ("train", "valid", "test")
            for name in ("images/a.jpg", "labels/a.txt")
        },
    },
    "roboflow yolo without valid": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cat']\n",
        **{f"train/images/{n}.jpg": "" for n in "ab"},
        **{f"train/labels/{n}.txt": YOLO for n in "ab"},
    },
    "paths of another machine": {
        "dataset.yaml": "path: /home/someone/cats\ntrain: images/train\nval: images/val\n"
        "names:\n  0: cat\n",
        **{f"images/{split}/a.jpg": "" for split in ("train", "val")},
        **{f"labels/{split}/a.txt": YOLO for split in ("train", "val")},
    },
    "kaggle voc": {f"images/{n}.jpg": "" for n in "ab"}
    | {f"annotations/{n}.xml": VOC.format(f"{n}.jpg") for n in "ab"},
    "flat voc": {f"{n}.jpg": "" for n in "ab"} | {f"{n}.xml": VOC.format(f"{n}.jpg") for n in "ab"},
    "label studio json": {"project-1.json": tasks("0a1b2c3d-a.jpg", "0a1b2c3e-b.jpg")}
    | {f"images/{n}.jpg": "" for n in "ab"},
    "label studio yolo": {"classes.txt": "cat\n", "notes.json": '{"categories": []}'}
    | {f"images/{n}.jpg": "" for n in "ab"}
    | {f"labels/{n}.txt": YOLO for n in "ab"},
    "cvat xml": {"annotations.xml": cvat("a.jpg", "b.jpg")} | {f"images/{n}.jpg": "" for n in "ab"},
    "cvat coco": {"annotations/instances_default.json": coco("a.jpg", "b.jpg")}
    | {f"images/{n}.jpg": "" for n in "ab"},
    "cvat yolo": {
        "obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n",
        "obj.names": "cat\n",
        "train.txt": "data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n",
    }
    | {f"obj_train_data/{n}.jpg": "" for n in "ab"}
    | {f"obj_train_data/{n}.txt": YOLO for n in "ab"},
    "coco 2017": {
        f"annotations/instances_{split}2017.json": coco("a.jpg") for split in ("train", "val")
    }
    | {f"{split}2017/a.jpg": "" for split in ("train", "val")},
}


def laid_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        if name.endswith(".jpg"):
            write_image(root / name, 10, 20)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_any_tool_is_trained_and_validated_on_as_it_is(tmp_path, layout):
    laid_out(tmp_path, LAYOUTS[layout])
    sets = {split: CategoryDetection(".", split=f"auto-{split}") for split in ("train", "val")}

    for dataset in sets.values():
        dataset.load(tmp_path)

    assert [dataset.names for dataset in sets.values()] == [["cat"], ["cat"]]
    assert [len(dataset.records) for dataset in sets.values()] == [1, 1]
    paths = [dataset.image_path(dataset.records[0]) for dataset in sets.values()]
    assert paths[0] != paths[1]


def split_of(*names: str) -> AnnotationSet:
    return AnnotationSet(Path(), [Record(1, name, (1, 1)) for name in names])


def files(found: AnnotationSet) -> list[str]:
    return [record.file_name for record in found.records]


def test_test_stands_in_for_val_and_nothing_is_held_out(caplog):
    sets = {"train": split_of("a", "b"), "test": split_of("c")}

    assert files(auto_split(sets, "val", Path("set"))) == ["c"]
    assert files(auto_split(sets, "train", Path("set"))) == ["a", "b"]
    assert "set has no split val: test stands in for it" in caplog.text


def test_a_tenth_is_held_out_where_there_is_nothing_to_validate_on(caplog):
    sets = {"all": split_of(*(f"{n}.jpg" for n in range(95)))}

    train, val, test = (
        files(auto_split(sets, split, Path("set"))) for split in ("train", "val", "test")
    )

    assert len(val) == 10
    assert val == test
    assert sorted(train + val) == sorted(files(sets["all"]))
    assert "10 of its 95 images are held out" in caplog.text


def test_a_set_whose_every_box_was_left_out_for_any_reason_is_refused(tmp_path):
    write_image(tmp_path / "images/a.jpg", 10, 20)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.5 1.57\n")  # An angle.
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")

    with pytest.raises(ValueError, match=r"every box of .* is left out"):
        CategoryDetection(".", split="train").load(tmp_path, training=True)


def test_cvats_images_lie_in_a_folder_named_after_the_file(tmp_path):
    write_image(tmp_path / "images/default/a.jpg", 10, 20)
    image = {"id": 1, "file_name": "a.jpg", "height": 10, "width": 20}
    lists = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_default.json").write_text(json.dumps(lists))

    (found,) = FORMATS["coco"].read(tmp_path).values()

    assert [record.file_name for record in found.records] == ["a.jpg"]


def test_capitals_of_a_split_do_not_matter(tmp_path):
    image = {"id": 1, "file_name": "a.jpg", "height": 10, "width": 20}
    lists = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    for split in ("Train", "Valid"):
        write_image(tmp_path / split / "a.jpg", 10, 20)
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(lists))

    assert sorted(FORMATS["coco"].read(tmp_path)) == ["train", "val"]


def test_splits_of_other_names_are_listed():
    with pytest.raises(ValueError, match="has the splits day, night, and none to train on"):
        auto_split({"day": split_of(), "night": split_of()}, "train", Path("set"))


def test_the_folder_below_is_named_where_an_archive_made_one_more(tmp_path):
    laid_out(tmp_path / "export", LAYOUTS["flat voc"])

    with pytest.raises(ValueError, match=r"pass '.*export', which has a data set"):
        detect_format(tmp_path)


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "export.zip").write_bytes(b"PK\x03\x04")

    with pytest.raises(ValueError, match=r"is an archive; unpack it"):
        detect_format(tmp_path / "export.zip")


def test_an_image_of_more_boxes_than_can_be_matched_is_left_out(tmp_path):
    many = "".join(
        f'<box label="cat" xtl="0" ytl="0" xbr="{1 + n / 1e4}" ybr="4"/>'
        for n in range(MOST_BOXES + 1)
    )
    few = '<box label="cat" xtl="0" ytl="0" xbr="4" ybr="4"/>'
    images = "".join(
        f'<image name="{name}.jpg" width="20" height="10">{boxes}</image>'
        for name, boxes in (("a", many), ("b", few))
    )
    text = f"<annotations><meta></meta>{images}</annotations>"
    laid_out(tmp_path, {"annotations.xml": text, "a.jpg": "", "b.jpg": ""})

    found = read_split(tmp_path, format=None, split=None)

    assert files(found) == ["b.jpg"]
    assert found.problems == {TOO_MANY: [f"a.jpg: {MOST_BOXES + 1} boxes"]}


def test_what_reads_back_otherwise_is_refused(tmp_path):
    laid_out(tmp_path / "set", LAYOUTS["flat voc"])
    sets = FORMATS["voc"].read(tmp_path / "set")
    FORMATS["yolo"].write(sets, tmp_path / "out")

    refuse_other(FORMATS["yolo"], sets, tmp_path / "out")
    (tmp_path / "out/labels/all/a.txt").write_text("")
    with pytest.raises(ValueError, match="reads back as 2 records with 1 boxes"):
        refuse_other(FORMATS["yolo"], sets, tmp_path / "out")


def test_pictures_are_paired_whatever_rounding_did_to_their_order():
    def sets_of(boxes):
        records = [
            Record(i, f"{i}.jpg", (10, 10), tuple(Annotation(box, 1) for box in shown))
            for i, shown in enumerate(boxes)
        ]
        return {"all": AnnotationSet(Path(), records, {1: "cat"})}

    def reads_back(meant, found):
        refuse_other(
            SimpleNamespace(name="voc", holds=(), read=lambda _: sets_of(found)), sets_of(meant), ""
        )

    a, b, c = (0.0, 0.0, 4.0, 4.0), (1.0, 1.0, 3.0, 3.001), (2.0, 0.0, 4.0, 2.002)
    moved = (2.0, 0.0, 4.0, 2.0)

    reads_back([[a], [b], [c], []], [[], [moved], [b], [a]])
    with pytest.raises(ValueError, match="4 records with 3 boxes"):
        reads_back([[a], [b], [c], []], [[], [b], [b], [a]])


def test_two_records_of_one_file_read_back_as_one(tmp_path):
    laid_out(tmp_path / "set", {"a.jpg": ""})
    boxes = [(Annotation((0.0, 0.0, 4.0 + i, 4.0), 1),) for i in range(2)]
    records = [Record(i, "a.jpg", (10, 20), shown) for i, shown in enumerate(boxes)]
    sets = {"all": AnnotationSet(tmp_path / "set", records, {1: "cat"})}
    FORMATS["voc"].write(sets, tmp_path / "out")

    refuse_other(FORMATS["voc"], sets, tmp_path / "out")
