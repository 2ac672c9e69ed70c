"""Boxes from masks: PNG files, COCO's segmentations, panoptic COCO and Label Studio's brush."""

import json

import numpy as np
import pytest
from helpers import write_image
from PIL import Image
from pycocotools import mask as coco_mask

from glip_pl.data.formats import FORMATS, detect_format
from glip_pl.data.formats.common.mask_boxes import brush_box, segmentation_box

CAT, DOG = (1.0, 1.0, 3.0, 4.0), (5.0, 0.0, 8.0, 2.0)
LEVELS = np.zeros((6, 9), np.uint8)
LEVELS[1:4, 1:3], LEVELS[0:2, 5:8] = 1, 2


def boxes_of(root, split="all"):
    found = FORMATS[detect_format(root).name].read(root)[split]
    boxes = [[(found.names[a.category], a.box) for a in r.annotations] for r in found.records]
    return boxes, found.problems


def write_mask(path, levels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(levels)
    if palette:
        image.putpalette(palette)
    image.save(path)


def write_names(root, **files):
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("image", "mask", "names"),
    [
        ("images/a.jpg", "masks/a.png", {"classes__txt": "cat\ndog\n"}),
        ("images/x/a.jpg", "masks/x/a.png", {"classes__txt": "background\ncat\ndog\n"}),
        ("imgs/a.JPG", "Masks/a_mask.png", {"labels__txt": "cat\ndog\n"}),
        (
            "a.jpg",
            "a_mask.png",
            {"_classes__csv": "Pixel Value, Class\n0, bg\n1, cat\n2, dog"},
        ),
    ],
)
def test_levels_become_a_box_for_each_part(tmp_path, image, mask, names):
    write_image(tmp_path / image, 6, 9)
    levels = LEVELS.copy()
    levels[5, 0], levels[5, 8] = 1, 255  # Another part, and a border.
    write_mask(tmp_path / mask, levels)
    write_names(tmp_path, **names)

    boxes, problems = boxes_of(tmp_path)

    assert boxes == [[("cat", CAT), ("cat", (0, 5, 1, 6)), ("dog", DOG)]]
    assert problems == {}


def test_white_is_the_only_category(tmp_path):
    write_image(tmp_path / "train/images/a.png", 6, 9)
    write_mask(tmp_path / "train/masks/a.png", (LEVELS == 1).astype(np.uint8) * 255)
    write_names(tmp_path, classes__txt="cell\n")

    assert boxes_of(tmp_path, "train") == ([[("cell", CAT)]], {})


@pytest.mark.parametrize("as_palette", [True, False])
def test_colours_and_objects_of_cvat_and_voc(tmp_path, as_palette):
    write_image(tmp_path / "JPEGImages/a.jpg", 6, 9)
    objects = LEVELS.copy()
    objects[1:4, 2] = 3  # Two that touch.
    palette = [0, 0, 0, 255, 0, 0, 0, 0, 255, 9, 9, 9]
    shown = np.array(palette, np.uint8).reshape(4, 3)
    for folder, levels in (("SegmentationClass", LEVELS), ("SegmentationObject", objects)):
        pixels = levels if as_palette else shown[levels]
        write_mask(tmp_path / folder / "a.png", pixels, palette if as_palette else None)
    write_names(tmp_path, labelmap__txt="background:0,0,0::\ncat:255,0,0::\ndog:0,0,255::\n")

    boxes, problems = boxes_of(tmp_path)

    assert sorted(boxes[0]) == [("cat", (1, 1, 2, 4)), ("cat", (2, 1, 3, 4)), ("dog", DOG)]
    assert problems == {}


def test_masks_without_names_are_refused_with_what_to_write(tmp_path):
    write_image(tmp_path / "images/a.jpg", 6, 9)
    write_mask(tmp_path / "masks/a.png", LEVELS)

    with pytest.raises(ValueError, match=r"no names of what they show; write classes\.txt"):
        boxes_of(tmp_path)


def test_what_is_wrong_with_masks_is_told(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"images/{name}.jpg", 6, 9)
    write_mask(tmp_path / "masks/a.png", LEVELS + (LEVELS == 2) * np.uint8(5))
    write_mask(tmp_path / "masks/b.png", LEVELS[:4])
    (tmp_path / "masks/c.png").write_bytes(b"no image")
    write_names(tmp_path, classes__txt="cat\n")

    boxes, problems = boxes_of(tmp_path)

    assert boxes == [[("cat", CAT)]]
    assert {kind: len(told) for kind, told in problems.items()} == {
        "part of a mask whose number or colour has no name": 1,
        "mask of another size than its image": 1,
        "mask that cannot be read": 1,
    }


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_mask_of_coco_stands_for_a_box_that_is_missing(tmp_path, is_packed):
    write_image(tmp_path / "images/a.jpg", 6, 9)
    code = coco_mask.encode(np.asfortranarray(LEVELS == 2))
    code["counts"] = code["counts"].decode()
    if not is_packed:
        flat = (LEVELS == 2).flatten("F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        code["counts"] = np.diff([0, *edges, flat.size]).tolist()
    polygon = [[1, 1, 3, 1, 3, 4], [1, 2, 2, 2, 2, 3]]
    shown = {"image_id": 1, "iscrowd": 0}
    annotations = [
        {"id": 1, "category_id": 1, "segmentation": polygon, "bbox": [0, 0, 0, 0], **shown},
        {"id": 2, "category_id": 2, "segmentation": code, **shown},
        {"id": 3, "category_id": 2, "segmentation": [[1, 2]], "bbox": [], **shown},
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 9}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "train.json").write_text(json.dumps({**document, "annotations": annotations}))

    boxes, problems = boxes_of(tmp_path, "train")

    assert boxes == [[("cat", CAT), ("dog", DOG)]]
    assert list(problems) == ["box that is not four numbers"]


@pytest.mark.parametrize(
    "code", [{}, {"counts": [1], "size": [6, 9]}, {"counts": "x", "size": [10**6, 10**6]}, "abc", 7]
)
def test_what_is_no_mask_has_no_box(code):
    assert segmentation_box(code) == ()


def test_segments_of_panoptic_coco_are_boxes_but_for_stuff(tmp_path):
    write_image(tmp_path / "images/a.jpg", 6, 9)
    segments = [
        {"id": 7, "category_id": 1, "bbox": [1, 1, 2, 3], "area": 6, "iscrowd": 0},
        {"id": 8, "category_id": 5, "bbox": [0, 0, 9, 6], "area": 9, "iscrowd": 0},
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 9}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [
            {"id": 1, "name": "cat", "isthing": 1},
            {"id": 5, "name": "sky", "isthing": 0},
        ],
    }
    (tmp_path / "panoptic_val.json").write_text(json.dumps(document))

    assert boxes_of(tmp_path, "val") == ([[("cat", CAT)]], {})
    found = FORMATS["coco_panoptic"].read(tmp_path)["val"]
    assert (found.names, found.unread) == (
        {1: "cat"},
        {"segment of what cannot be counted": 1},
    )


def brush(mask) -> list[int]:
    """Write Label Studio's code of a mask: runs of equal values, and one of unequal ones."""
    values = np.repeat(mask.astype(np.uint8)[..., None] * 255, 4, 2).reshape(-1)
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += "0" + "00" + f"{3:03b}" + "".join(f"{v:08b}" for v in values[:4])
    at = 4
    for end in [*(np.flatnonzero(np.diff(values[4:])) + 5).tolist(), len(values)]:
        bits += "1" + "11" + f"{end - at - 1:016b}" + f"{values[at]:08b}"
        at = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_what_a_brush_painted_has_a_box_around_it(tmp_path):
    write_image(tmp_path / "images/a.jpg", 6, 9)
    code = brush(LEVELS == 2)
    region = {
        "type": "brushlabels",
        "original_width": 9,
        "original_height": 6,
        "value": {"format": "rle", "rle": code, "brushlabels": ["dog"]},
    }
    tasks = [{"data": {"image": "a.jpg"}, "annotations": [{"result": [region]}]}]
    (tmp_path / "project.json").write_text(json.dumps(tasks))

    assert boxes_of(tmp_path) == ([[("dog", DOG)]], {})
    assert brush_box(brush(LEVELS > 9), (6, 9)) == (0, 0, 0, 0)
    for wrong in (code[:-9], [], "abc", [300], None):
        assert brush_box(wrong, (6, 9)) == ()
    assert brush_box(code, (9, 9)) == ()


def test_boxes_beside_masks_count_more(tmp_path):
    write_image(tmp_path / "images/a.jpg", 6, 9)
    write_mask(tmp_path / "masks/a.png", LEVELS)
    write_names(tmp_path, classes__txt="cat\ndog\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 1 1\n")

    assert detect_format(tmp_path).name == "yolo"
