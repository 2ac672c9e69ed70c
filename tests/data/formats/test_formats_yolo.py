from pathlib import Path

import pytest
from helpers import write_image

from glip_pl.data.formats import FORMATS, Annotation, AnnotationSet, Record, detect_format
from glip_pl.data.formats.common.checks import NOT_A_SCORE
from glip_pl.data.formats.yolo.yolo_labels import SHARED_LABELS

BOX = "0.5 0.5 0.5 1"  # In 20 x 10 pixels: (5, 0, 15, 10).
PIXELS = (5, 0, 15, 10)


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write texts, and a picture of 20 x 10 pixels for every name of one."""
    for name, text in files.items():
        if name.endswith((".jpg", ".png")):
            write_image(root / name, 10, 20)
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def labelled(root: Path, *lines: str, names: str = "[cat, dog]") -> Path:
    """Write a set of one picture with lines of labels."""
    return tree(
        root,
        {
            "data.yaml": f"train: images/train\nnames: {names}\n",
            "images/train/a.jpg": "",
            "labels/train/a.txt": "".join(f"{line}\n" for line in lines),
        },
    )


def read(root: Path, split: str = "train") -> AnnotationSet:
    assert detect_format(root).name == "yolo"
    return FORMATS["yolo"].read(root)[split]


def boxes(found: AnnotationSet) -> list[tuple]:
    return [(found.names[a.category], a.box) for r in found.records for a in r.annotations]


# Lines of labels


def test_a_byte_order_mark_and_dos_line_ends_change_nothing(tmp_path):
    labelled(tmp_path)
    (tmp_path / "labels/train/a.txt").write_bytes(f"0 {BOX}\r\n1 {BOX}\r\n".encode("utf-8-sig"))

    found = read(tmp_path)

    assert boxes(found) == [("cat", PIXELS), ("dog", PIXELS)]
    assert found.problems == {}


@pytest.mark.parametrize("lines", [["0 0,5 0,5 0,5 1"], ["0,0.5,0.5,0.5,1"], ["0;0.5;0.5;0.5;1"]])
def test_other_separators_and_decimal_commas_are_named_by_their_line(tmp_path, lines):
    found = read(labelled(tmp_path, *lines))

    assert found.problems == {"box that is not four numbers": [f"line 1 of a.jpg: {lines[0]}"]}


def test_a_score_and_a_track_behind_a_box_are_no_outline(tmp_path):
    found = read(labelled(tmp_path, f"0 {BOX} 0.87 3", f"0 {BOX} 0.5 1"))

    assert boxes(found) == [("cat", PIXELS)] * 2
    assert [a.score for a in found.records[0].annotations] == [0.87, 0.5]
    assert len(found.problems["number of a track after a box, which is not kept"]) == 2


def test_a_triangle_is_an_outline_though_it_ends_at_the_border(tmp_path):
    found = read(labelled(tmp_path, "0 0.25 0 0.75 0 0.5 1"))

    assert boxes(found) == [("cat", PIXELS)]
    assert found.unread == {"segmentation": 1}


def test_whole_numbers_that_end_every_line_are_those_of_a_track(tmp_path):
    found = read(labelled(tmp_path, *[f"0 {BOX} 0.9 1"] * 3))

    assert boxes(found) == [("cat", PIXELS)] * 3


def test_key_points_that_no_description_tells_of_are_no_outline(tmp_path):
    found = read(labelled(tmp_path, f"0 {BOX} 0.4 0.4 2 0.6 0.6 2"))

    assert boxes(found) == []
    assert "key points" in next(iter(found.problems))


def test_a_label_file_of_two_images_gives_neither_its_boxes(tmp_path):
    labelled(tmp_path, f"0 {BOX}")
    tree(tmp_path, {"images/train/a.png": ""})

    found = read(tmp_path)

    assert found.problems[SHARED_LABELS] == ["a.jpg", "a.png"]
    assert len(found.records) == 0


def test_labels_of_another_split_are_not_without_an_image(tmp_path):
    labelled(tmp_path, f"0 {BOX}")
    tree(
        tmp_path,
        {
            "data.yaml": "train: train.txt\nval: val.txt\nnames: [cat]\n",
            "train.txt": "images/train/a.jpg\n",
            "val.txt": "images/train/b.jpg\n",
            "images/train/b.jpg": "",
            "labels/train/b.txt": f"0 {BOX}\n",
        },
    )

    assert read(tmp_path).problems == {} == read(tmp_path, "val").problems


@pytest.mark.parametrize("sixth", ["45", "-0.3", "1.57", "7"])
def test_boxes_with_an_angle_or_a_track_are_left_out_where_it_is_no_score(tmp_path, sixth):
    found = read(labelled(tmp_path, f"0 {BOX} {sixth}", f"0 {BOX} 0.5", f"1 {BOX}"))

    assert boxes(found) == [("dog", PIXELS)]
    assert len(found.problems[NOT_A_SCORE]) == 2


@pytest.mark.parametrize("line", ["0 10 5 10 10", "0 50 50 50 100"])
def test_boxes_in_pixels_or_percent_are_named_as_that(tmp_path, line):
    found = read(labelled(tmp_path, line))

    assert list(found.problems) == ["box in pixels or percent, where parts of the image are meant"]


def test_class_numbers_that_count_from_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="off by one: its boxes use 1 to 2, and its names have 0"):
        read(labelled(tmp_path, f"1 {BOX}", f"2 {BOX}"))


# The description


@pytest.mark.parametrize(
    ("names", "read_as"),
    [
        ("[no, yes]", ["no", "yes"]),
        ("[on, off]", ["on", "off"]),
        ("[null, 12:30]", ["null", "12:30"]),
        ("{0: 007, 1: 1e3}", ["007", "1e3"]),
        ("person", ["person"]),
    ],
)
def test_names_are_words_whatever_yaml_takes_them_for(tmp_path, names, read_as):
    assert list(read(labelled(tmp_path, names=names)).names.values()) == read_as


@pytest.mark.parametrize("names", ["cat, dog", "{a: cat}", "[[cat]]", '""'])
def test_names_that_are_no_list_are_refused(tmp_path, names):
    with pytest.raises(ValueError, match=r"neither a list nor numbered"):
        read(labelled(tmp_path, names=names))


def test_a_number_of_classes_that_is_not_that_of_the_names_is_told(tmp_path):
    labelled(tmp_path, f"0 {BOX}")
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("nc: 3\n")

    assert read(tmp_path).problems == {
        "number of classes (nc) that is not the number of names": ["3, with 2 names"]
    }


@pytest.mark.parametrize("name", ["dataset.yaml", "data.yml", "my_set.yaml"])
def test_the_description_may_have_another_name(tmp_path, name):
    labelled(tmp_path, f"0 {BOX}")
    (tmp_path / "data.yaml").rename(tmp_path / name)

    assert boxes(read(tmp_path)) == [("cat", PIXELS)]


def test_a_description_in_utf_16_is_read(tmp_path):
    labelled(tmp_path, f"0 {BOX}")
    text = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(text, encoding="utf-16")

    assert boxes(read(tmp_path)) == [("cat", PIXELS)]


def test_a_description_that_names_no_images_is_told_so(tmp_path):
    tree(labelled(tmp_path, f"0 {BOX}"), {"data.yaml": "names: [cat]\n"})

    with pytest.raises(ValueError, match=r"data.yaml' has `names` and names no images; write `tra"):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train:\timages\nnames: [cat]\n", ""),
        ("train: images\nnames: {0: cat, 0: dog}\n", "'0' stands twice in one object, for 'cat'"),
    ],
)
def test_a_description_that_is_no_yaml_is_told_in_one_line(tmp_path, text, told):
    tree(labelled(tmp_path), {"data.yaml": text})

    with pytest.raises(ValueError, match=rf"^cannot read .*{told}.*; correct the file$"):
        read(tmp_path)


@pytest.mark.parametrize(
    "train",
    [
        "/home/me/set/images/train",
        r"C:\me\set\images\train",
        "../images/train",
        "../../datasets/set/images/train",
        "/kaggle/input/list.txt",
    ],
)
def test_paths_of_another_machine_lead_to_the_images_here(tmp_path, train):
    labelled(tmp_path, f"0 {BOX}")
    tree(
        tmp_path,
        {
            "data.yaml": f"path: /home/me/set\ntrain: {train}\nnames: [cat]\n",
            "list.txt": b"\xef\xbb\xbf/kaggle/input/images/train/a.jpg\r\n",
        },
    )

    assert boxes(read(tmp_path)) == [("cat", PIXELS)]


def test_an_image_of_a_list_that_is_not_there_is_counted(tmp_path):
    labelled(tmp_path, f"0 {BOX}")
    files = {"data.yaml": "train: list.txt\nnames: [cat]\n"}
    tree(tmp_path, {**files, "list.txt": "./images/train/a.jpg\n./images/train/b.jpg\n"})

    assert read(tmp_path).problems == {"missing image file": ["./images/train/b.jpg"]}


def test_the_key_valid_is_the_split_val(tmp_path):
    labelled(tmp_path, f"0 {BOX}")
    tree(tmp_path, {"data.yaml": "valid: images/train\nnames: [cat]\n"})

    assert boxes(read(tmp_path, "val")) == [("cat", PIXELS)]


# Other tools


def test_label_studios_export_is_read_by_its_list_of_classes(tmp_path):
    tree(
        tmp_path,
        {
            "classes.txt": "cat\n",
            "notes.json": '{"categories": [{"id": 0, "name": "cat"}], "info": {}}',
            "images/a.jpg": "",
            "labels/a.txt": f"0 {BOX}\n",
        },
    )

    found = read(tmp_path, "all")

    assert boxes(found) == [("cat", PIXELS)]
    assert found.problems == {}


def test_cvats_export_is_read_by_its_description(tmp_path):
    tree(
        tmp_path,
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/a.jpg\n",
            "obj_train_data/a.jpg": "",
            "obj_train_data/a.txt": f"1 {BOX}\n",
        },
    )

    found = read(tmp_path)

    assert boxes(found) == [("dog", PIXELS)]
    assert found.problems == {}


def test_roboflows_darknet_export_has_its_splits(tmp_path):
    for split in ("train", "valid"):
        tree(
            tmp_path / split,
            {"_darknet.labels": "cat\n", "a.jpg": "", "a.txt": f"0 {BOX}\n"},
        )

    found = FORMATS["yolo"].read(tmp_path)

    assert list(found) == ["train", "val"]
    assert boxes(found["val"]) == [("cat", PIXELS)]


def test_labels_beside_the_images_are_found(tmp_path):
    files = {"data.yaml": "train: images\nnames: [cat]\n", "images/a.txt": f"0 {BOX}\n"}
    tree(tmp_path, {**files, "images/a.jpg": ""})

    assert boxes(read(tmp_path)) == [("cat", PIXELS)]


def test_labels_without_any_names_are_told_what_is_missing(tmp_path):
    tree(tmp_path, {"images/a.jpg": "", "labels/a.txt": f"0 {BOX}\n"})

    with pytest.raises(ValueError, match=r"labels of YOLO without names.*write data\.yaml"):
        detect_format(tmp_path)


# Writing


@pytest.mark.parametrize("name", ["images/a.jpg", "labels/a.jpg", "a.b.jpg", "x/images/y/a.jpg"])
def test_labels_are_written_where_they_are_looked_for(tmp_path, name):
    write_image(tmp_path / "source" / name, 10, 20)
    record = Record(1, name, (10, 20), (Annotation((1, 2, 3, 4), 1),))
    source = AnnotationSet(tmp_path / "source", [record], {1: "no"})

    FORMATS["yolo"].write({"all": source}, tmp_path / "images")
    found = read(tmp_path / "images", "all")

    assert boxes(found) == [("no", pytest.approx((1, 2, 3, 4)))]
    assert found.problems == {}
