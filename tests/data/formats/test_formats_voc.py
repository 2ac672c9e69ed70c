from pathlib import Path

import pytest
from helpers import write_image

from glip_pl.data.formats import FORMATS, AnnotationSet, detect_format
from glip_pl.data.formats.common.checks import UNSURE_FILE
from glip_pl.data.formats.voc.voc_xml import SEVERAL

BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>10</xmax><ymax>8</ymax></bndbox>"
PIXELS = (1, 2, 10, 8)


def xml(file_name: str = "1.jpg", name: str = "box") -> str:
    thing = f"<object><name>{name}</name>{BOX}</object>"
    size = "<size><width>20</width><height>10</height></size>"
    return f"<annotation><filename>{file_name}</filename>{size}{thing}</annotation>"


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write texts, and a picture of 20 x 10 pixels for every name of one."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith((".jpg", ".png")):
            write_image(root / name, 10, 20)
        else:
            (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def read(root: Path, split: str = "all") -> AnnotationSet:
    assert detect_format(root).name == "voc"
    return FORMATS["voc"].read(root)[split]


def boxes(found: AnnotationSet) -> dict[str, list[tuple]]:
    return {
        r.file_name: [(found.names[a.category], a.box) for a in r.annotations]
        for r in found.records
    }


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations", "images"),
        ("Annotations", "Images"),
        ("xmls", "imgs"),
        ("labels", "images"),
        (".", "."),
        ("annotations", "."),
        (".", "images"),
    ],
)
def test_xml_and_pictures_are_found_in_the_folders_of_common_tools(tmp_path, annotations, images):
    tree(tmp_path, {f"{annotations}/1.xml": xml(), f"{images}/1.jpg": ""})

    found = read(tmp_path)

    assert boxes(found) == {"1.jpg": [("box", PIXELS)]}
    assert found.problems == {}


def test_roboflows_folders_are_the_splits(tmp_path):
    for split in ("train", "valid"):
        tree(tmp_path, {f"{split}/1.xml": xml(), f"{split}/1.jpg": ""})

    found = FORMATS["voc"].read(tmp_path)

    assert {split: boxes(held) for split, held in found.items()} == {
        "train": {"train/1.jpg": [("box", PIXELS)]},
        "val": {"valid/1.jpg": [("box", PIXELS)]},
    }


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "utf-16", "utf-8-sig"])
def test_an_xml_is_read_in_the_encoding_that_it_declares(tmp_path, encoding):
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    text = (declared + xml(name="安全帽")).encode(encoding)
    tree(tmp_path, {"Annotations/1.xml": text, "JPEGImages/1.jpg": ""})

    assert boxes(read(tmp_path)) == {"1.jpg": [("安全帽", PIXELS)]}


def test_a_name_in_an_undeclared_encoding_is_told_and_never_guessed(tmp_path):
    text = xml(name="安全帽").encode("gbk")
    tree(tmp_path, {"Annotations/1.xml": text, "JPEGImages/1.jpg": ""})

    (told,) = read(tmp_path).problems["picture without a readable XML"]

    assert "not in UTF-8" in told


def test_wrong_bytes_where_no_word_is_needed_disturb_nobody(tmp_path):
    text = xml().replace("<size>", "<folder>安</folder><size>").encode("gbk")
    tree(tmp_path, {"Annotations/1.xml": text, "JPEGImages/1.jpg": ""})

    assert boxes(read(tmp_path)) == {"1.jpg": [("box", PIXELS)]}


def test_a_picture_whose_suffix_has_capitals_is_found(tmp_path):
    tree(tmp_path, {"Annotations/1.xml": xml(), "JPEGImages/1.JPG": ""})

    found = read(tmp_path)

    assert boxes(found) == {"1.JPG": [("box", PIXELS)]}
    assert found.problems == {}


def test_an_xml_in_a_namespace_is_read(tmp_path):
    text = xml().replace("<annotation>", '<annotation xmlns="http://example.org/voc">')
    tree(tmp_path, {"Annotations/1.xml": text, "JPEGImages/1.jpg": ""})

    assert boxes(read(tmp_path)) == {"1.jpg": [("box", PIXELS)]}


@pytest.mark.parametrize(
    ("written", "difficult"), [("true", True), (" 1 ", True), ("False", False)]
)
def test_difficult_is_read_by_its_value(tmp_path, written, difficult):
    text = xml().replace("</name>", f"</name><difficult>{written}</difficult>")
    tree(tmp_path, {"Annotations/1.xml": text, "JPEGImages/1.jpg": ""})

    assert [a.crowd for a in read(tmp_path).records[0].annotations] == [difficult]


def test_a_list_may_name_files_with_their_folders(tmp_path):
    files = {"Annotations/1.xml": xml(), "JPEGImages/1.jpg": ""}
    tree(tmp_path, {**files, "ImageSets/Main/train.txt": "/home/me/VOC/JPEGImages/1.jpg\n"})

    assert boxes(read(tmp_path, "train")) == {"1.jpg": [("box", PIXELS)]}


def test_a_set_two_folders_deep_is_named(tmp_path):
    tree(
        tmp_path,
        {f"VOCdevkit/VOC2007/{n}": xml() for n in ("Annotations/1.xml", "JPEGImages/1.jpg")},
    )

    with pytest.raises(ValueError, match=r"pass '.*VOCdevkit/VOC2007', which has a data set"):
        detect_format(tmp_path)


@pytest.mark.parametrize("file_name", ["a/b/7.jpg", r"C:\me\7.jpg", "../7.jpg", "7.jpg"])
def test_a_file_name_with_folders_leads_to_the_picture(tmp_path, file_name):
    tree(tmp_path, {"Annotations/1.xml": xml(file_name), "JPEGImages/7.jpg": ""})

    assert boxes(read(tmp_path)) == {"7.jpg": [("box", PIXELS)]}


def test_an_xml_that_names_the_picture_of_another_gives_it_no_boxes(tmp_path):
    tree(
        tmp_path,
        {
            "Annotations/1.xml": xml(),
            "Annotations/copy.xml": xml(),
            "Annotations/x.xml": xml("3.jpg"),
            "Annotations/y.xml": xml("3.jpg"),
            "JPEGImages/1.jpg": "",
            "JPEGImages/3.jpg": "",
        },
    )

    found = read(tmp_path)

    assert boxes(found) == {"1.jpg": [("box", PIXELS)]}
    assert found.problems == {
        UNSURE_FILE: ["1.jpg of copy.xml", "3.jpg of x.xml", "3.jpg of y.xml"]
    }


@pytest.mark.parametrize(
    "lines", [b"\xef\xbb\xbf1\r\n2\r\n", b"1.jpg\n2.jpg\n", b"1 1\n2 -1\n", b"x/../1\n./2\n"]
)
def test_a_list_may_have_marks_suffixes_and_numbers(tmp_path, lines):
    tree(
        tmp_path,
        {
            "ImageSets/Main/train.txt": lines,
            "Annotations/1.xml": xml(),
            "Annotations/2.xml": xml("2.jpg"),
            "JPEGImages/1.jpg": "",
            "JPEGImages/2.jpg": "",
        },
    )

    assert list(boxes(read(tmp_path, "train"))) == ["1.jpg", "2.jpg"]


def test_entities_that_multiply_do_not_hang_the_reader(tmp_path):
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    text = f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]>{xml(name="&e11;")}'
    tree(tmp_path, {"Annotations/1.xml": text, "JPEGImages/1.jpg": ""})

    assert list(read(tmp_path).problems) == ["picture without a readable XML"]


@pytest.mark.parametrize("twice", [BOX, "<name>cat</name>"])
def test_an_object_of_two_names_or_boxes_is_left_out_and_told(tmp_path, twice):
    thing = f"<object><name>dog</name>{BOX}{twice}</object>"
    written = xml().replace("</annotation>", f"{thing}</annotation>")
    tree(tmp_path, {"annotations/1.xml": written, "images/1.jpg": ""})

    found = read(tmp_path)

    assert boxes(found) == {"1.jpg": [("box", PIXELS)]}
    assert found.problems == {SEVERAL: ["1: 'dog' at [1.0, 2.0, 10.0, 8.0]"]}
