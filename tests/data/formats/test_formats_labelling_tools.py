import json
from pathlib import Path

import pytest
from helpers import write_image

from glip_pl.data.formats import FORMATS, AnnotationSet, detect_format

REGION = {
    "type": "rectanglelabels",
    "original_width": 200,
    "original_height": 100,
    "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0},
}
BOX = (20, 20, 80, 60)


def region(label: str = "cat", **value: object) -> dict:
    return {**REGION, "value": {**REGION["value"], "rectanglelabels": [label], **value}}


def shape(**value: object) -> dict:
    return {**REGION, "value": value}


def task(image: str, *results: list[dict], **keys: object) -> dict:
    annotations = [{"result": result} for result in results]
    return {"id": 7, "data": {"image": image}, "annotations": annotations, **keys}


def export(root: Path, tasks: object, images: tuple[str, ...] = ("a.jpg",)) -> AnnotationSet:
    for name in images:
        write_image(root / "images" / name, 100, 200)
    (root / "project-1.json").write_text(json.dumps(tasks))
    assert detect_format(root).name == "label_studio"
    return FORMATS["label_studio"].read(root)["all"]


def boxes(found: AnnotationSet) -> list[list[tuple]]:
    return [
        [(found.names[a.category], tuple(round(v, 3) for v in a.box)) for a in record.annotations]
        for record in found.records
    ]


# Label Studio


def test_regions_in_percent_become_boxes_in_pixels(tmp_path):
    found = export(tmp_path, [task("a.jpg", [region()])])

    assert boxes(found) == [[("cat", BOX)]]
    assert found.records[0].size == (100, 200)
    assert found.records[0].image_id == 7
    assert found.problems == {}


@pytest.mark.parametrize(
    "name",
    [
        "/data/upload/1/8f3c1a2b-a.jpg",
        "/data/local-files/?d=photos/a.jpg",
        "s3://bucket/a.jpg",
        "https://example.org/x/a.jpg?token=1",
        "C:\\photos\\a.jpg",
    ],
)
def test_images_are_found_by_the_names_that_they_had_before_the_upload(tmp_path, name):
    found = export(tmp_path, [task(name, [region()])])

    assert [record.file_name for record in found.records] == ["a.jpg"]


def test_two_uploads_of_one_name_give_their_boxes_to_neither(tmp_path):
    tasks = [task(f"/data/upload/1/{i}{'0' * 7}-a.jpg", [region()]) for i in (1, 2)]

    found = export(tmp_path, tasks)

    assert found.records == []
    assert (
        len(
            found.problems[
                "image file that several names lead to once their folders or capitals are dropped"
            ]
        )
        == 2
    )


def test_the_short_export_is_read_alike(tmp_path):
    entry = {**REGION["value"], "rectanglelabels": ["cat"]}
    size = {"original_width": 200, "original_height": 100}

    found = export(tmp_path, [{"id": 7, "image": "a.jpg", "label": [{**entry, **size}]}])

    assert boxes(found) == [[("cat", BOX)]]


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        (shape(points=[[10, 20], [40, 20], [40, 60]], polygonlabels=["cat"]), BOX),
        (shape(x=25, y=40, radiusX=15, radiusY=20, ellipselabels=["cat"]), BOX),
        # A square of 20 pixels, turned by a quarter around its upper left corner, (40, 40).
        (
            shape(x=20, y=40, width=10, height=20, rotation=90, rectanglelabels=["cat"]),
            (20, 40, 40, 60),
        ),
    ],
)
def test_other_shapes_give_the_box_around_them(tmp_path, drawn, box):
    found = export(tmp_path, [task("a.jpg", [drawn])])

    assert boxes(found) == [[("cat", box)]]


def test_of_several_people_the_one_marked_as_truth_counts(tmp_path):
    entry = task("a.jpg", [region("dog")], [region("cat")])
    entry["annotations"][1]["ground_truth"] = True

    found = export(tmp_path, [entry])

    assert boxes(found) == [[("cat", BOX)]]
    assert found.unread == {"further annotation of a task": 1}


def test_what_only_a_model_drew_keeps_its_score(tmp_path):
    guess = {"data": {"image": "a.jpg"}, "predictions": [{"result": [{**region(), "score": 0.5}]}]}

    assert export(tmp_path, [guess]).records[0].annotations[0].score == 0.5


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([task("b.jpg", [region()])], "missing image file"),
        ([task("a.jpg", [region("")])], "box without a label"),
        ([task("a.jpg", [region(x="left")])], "box that is not four numbers"),
        ([{"data": {"text": "hello"}, "annotations": []}], "task without the name of an image"),
    ],
)
def test_what_is_wrong_is_counted(tmp_path, tasks, told):
    found = export(tmp_path, tasks)

    assert list(found.problems) == [told]
    assert [a for record in found.records for a in record.annotations] == []


# CVAT


def cvat(root: Path, *images: str, meta: str = "") -> AnnotationSet:
    write_image(root / "images" / "a.jpg", 100, 200)
    text = f"<annotations><version>1.1</version><meta>{meta}</meta>{''.join(images)}</annotations>"
    (root / "annotations.xml").write_text(text, encoding="utf-8")
    assert detect_format(root).name == "cvat"
    return next(iter(FORMATS["cvat"].read(root).values()))


def image(shapes: str, name: str = "a.jpg", more: str = "") -> str:
    return f'<image id="0" name="{name}" width="200" height="100" {more}>{shapes}</image>'


CVAT_BOX = '<box label="cat" xtl="20" ytl="20" xbr="80" ybr="60" occluded="0"/>'


@pytest.mark.parametrize(
    "drawn",
    [
        CVAT_BOX,
        '<polygon label="cat" points="20,20;80,20;80,60"/>',
        '<mask label="cat" rle="1" left="20" top="20" width="60" height="40"/>',
        '<ellipse label="cat" cx="50" cy="40" rx="30" ry="20"/>',
        '<box label="cat" xtl="30" ytl="10" xbr="70" ybr="70" rotation="90"/>',
    ],
)
def test_the_shapes_of_cvat_give_the_box_around_them(tmp_path, drawn):
    found = cvat(tmp_path, image(drawn))

    assert boxes(found) == [[("cat", BOX)]]
    assert found.problems == {}


def test_labels_without_a_shape_are_names_and_lines_are_counted(tmp_path):
    meta = "<task><labels><label><name>dog</name></label></labels></task>"

    found = cvat(tmp_path, image(CVAT_BOX + '<points label="cat" points="1,1"/>'), meta=meta)

    assert found.names == {1: "dog", 2: "cat"}
    assert found.unread == {"points": 1}


def test_subsets_of_cvat_are_splits(tmp_path):
    write_image(tmp_path / "images" / "b.jpg", 100, 200)
    cvat(
        tmp_path, image(CVAT_BOX, more='subset="Train"'), image("", "b.jpg", 'subset="Validation"')
    )

    sets = FORMATS["cvat"].read(tmp_path)

    assert {split: len(held.records) for split, held in sets.items()} == {"train": 1, "val": 1}


def test_the_images_of_a_project_lie_in_folders_of_its_subsets(tmp_path):
    for split in ("Train", "Validation"):
        write_image(tmp_path / "images" / split / "a.jpg", 100, 200)
    images = [image(CVAT_BOX, more=f'subset="{s}"') for s in ("Train", "Validation")]
    body = "".join(images)
    (tmp_path / "annotations.xml").write_text(f"<annotations>{body}</annotations>")

    sets = FORMATS["cvat"].read(tmp_path)

    assert {split: held.records[0].file_name for split, held in sets.items()} == {
        "train": "Train/a.jpg",
        "val": "Validation/a.jpg",
    }


def test_a_task_of_several_images_gives_none_of_them_its_boxes(tmp_path):
    shown = task("a.jpg", [region()], data={"left": "a.jpg", "right": "b.jpg"})

    found = export(tmp_path, [shown], ("a.jpg", "b.jpg"))

    assert found.problems == {
        "task of several images, any of which its regions may show": ["task 7"]
    }
    assert len(found.records) == 0


def test_a_video_of_cvat_is_refused_with_what_to_export(tmp_path):
    with pytest.raises(ValueError, match=r"CVAT for images 1\.1"):
        cvat(tmp_path, '<track id="0" label="cat"><box frame="0"/></track>')


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ('<box label="" xtl="20" ytl="20" xbr="80" ybr="60"/>', "box without a label"),
        ('<box label="cat" xtl="20"/>', "box that is not four numbers"),
        ('<polygon label="cat" points="1;2"/>', "box that is not four numbers"),
    ],
)
def test_wrong_shapes_of_cvat_are_counted(tmp_path, shapes, told):
    found = cvat(tmp_path, image(shapes))

    assert list(found.problems) == [told]
    assert boxes(found) == [[]]
