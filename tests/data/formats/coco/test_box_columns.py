"""Boxes checked many at once: the same verdicts as one by one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glip_pl.data.formats import FORMATS
from glip_pl.data.formats.coco import box_columns
from glip_pl.data.formats.coco.box_columns import checked_boxes
from glip_pl.data.formats.common import json_walk
from glip_pl.data.formats.common.checks import checked_box

SIDES = st.sampled_from([-1e308, -5.0, -0.05, 0.0, 3.0, 10.0, 10.05, 12.0, 1e308, np.inf, np.nan])


@settings(max_examples=300, deadline=None)
@given(st.tuples(SIDES, SIDES, SIDES, SIDES))
def test_boxes_are_judged_as_one_by_one(corners):
    box, kind = checked_box(corners, (10, 12))
    boxes, kinds = checked_boxes(np.array([corners]), np.array([[10, 12]]))

    assert box_columns._KINDS[kinds[0]] == kind
    assert box is None or tuple(boxes[0].tolist()) == box


def write_set(folder, annotations) -> None:
    """Write COCO's JSON of two images of 10 x 12 pixels."""
    (folder / "images").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        Image.new("RGB", (12, 10)).save(folder / "images" / name)
    images = [{"id": i, "file_name": f"{i}.png", "height": 10, "width": 12} for i in (1, 2)]
    categories = [{"id": i, "name": f"n{i}"} for i in (1, 2, 3)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(document))


ODD = [
    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "iscrowd": 1},
    {"id": 2, "image_id": 2, "category_id": 2, "bbox": [5, 5, 30, 3], "score": 0.5},
    {"id": 2, "image_id": 1, "category_id": 3, "bbox": [1.5, 2, 3, 3], "segmentation": [[1, 2]]},
    {"id": 3, "image_id": 9, "category_id": 1, "bbox": [1, 1, 3, 3], "segmentation": []},
    {"id": 4, "image_id": 1, "category_id": 9, "bbox": [1, 1, 3, 3]},
    {"id": 5, "image_id": 2, "category_id": 1, "bbox": [1, 1, -3, 3]},
]


@pytest.mark.parametrize("piece", [64, 300, 1 << 24])
def test_well_formed_entries_are_read_as_any_others(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(json_walk, "PIECE", piece)
    write_set(tmp_path / "exact", ODD)
    # Text in place of a number sends a whole piece the other way.
    write_set(tmp_path / "loose", [{**entry, "image_id": str(entry["image_id"])} for entry in ODD])
    exact, loose = (
        FORMATS["coco"].read(tmp_path / name / "a.json")["all"] for name in ("exact", "loose")
    )

    assert exact.records == list(loose.records)
    assert exact.problems == loose.problems
    assert exact.unread == loose.unread == {"segmentation": 1}
    assert exact.problems == {
        "box clipped to its image": ["annotation 2 of image 2: [5, 5, 30, 3]"],
        "repeated annotation id": ["annotation 2 of image 1"],
        "annotation of an unknown image": ["annotation 3 of image 9"],
        "annotation of an unknown category": ["annotation 4 of image 1: 9"],
        "inverted box": ["annotation 5 of image 2: [1, 1, -3, 3]"],
    }


@pytest.mark.parametrize("far", [3, 10**12])
def test_ids_far_apart_find_their_images(far):
    rows = box_columns.RowsOfIds(np.array([-2, 0, far]), np.array([far, -2]))

    assert rows(np.array([far, 0, -2, 1, far + 1, -3])).tolist() == [0, -1, 1, -2, -2, -2]


def test_a_set_without_images_has_no_rows():
    rows = box_columns.RowsOfIds(np.zeros(0, np.int64), np.zeros(0, np.int64))

    assert rows(np.array([0, 1])).tolist() == [-2, -2]
