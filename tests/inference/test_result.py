"""A result in the forms of other libraries."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from glip_pl.inference.result import Result


@pytest.fixture
def result():
    return Result(
        boxes=torch.tensor([[1.0, 2.0, 11.0, 22.0], [0.0, 0.0, 5.0, 5.0]]),
        scores=torch.tensor([0.9, 0.5]),
        labels=torch.tensor([1, 0]),
        names=("dog", "cat"),
        phrases=("cat", "dog"),
        size=(40, 30),
        source=None,
        load_pixels=lambda: np.zeros((40, 30, 3), np.uint8),
    )


def test_as_plain_numbers(result):
    assert result.to_dict()["detections"][0] == {
        "phrase": "dog",
        "score": 0.9,
        "box": [1.0, 2.0, 11.0, 22.0],
    }


def test_as_coco(result):
    (first,) = result.to_coco(7, {"dog": 18})

    assert first == {"image_id": 7, "category_id": 18, "bbox": [1, 2, 10, 20], "score": 0.9}


def test_as_transformers(result):
    assert result.to_hf()["text_labels"] == ["dog", "cat"]


def test_a_library_is_imported_when_its_form_is_asked_for(result, monkeypatch):
    made = SimpleNamespace(Detections=lambda **given: given)
    monkeypatch.setitem(sys.modules, "supervision", made)

    assert result.to_supervision()["class_id"].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["pandas", "supervision"])
def test_a_missing_library_is_named(result, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ValueError, match=f"pip install {name}"):
        getattr(result, f"to_{name}")()


def test_a_picture_is_written_in_the_format_of_its_suffix(result, tmp_path):
    result.save(tmp_path / "x.jpg")

    assert Image.open(tmp_path / "x.jpg").format == "JPEG"


def test_a_suffix_of_no_picture_is_refused(result, tmp_path):
    with pytest.raises(ValueError, match="no suffix of a picture"):
        result.save(tmp_path / "x.txt")


def test_it_counts_what_it_holds(result):
    assert len(result) == 2
    assert result.summary() == "1 dog, 1 cat"


def test_a_name_is_absent_as_far_as_its_best_score_leaves_room(result):
    few = replace(result, labels=torch.tensor([1, 1]))

    assert result.absence() == {"cat": 0.5, "dog": 0.1}
    assert few.absence() == {"cat": 1.0, "dog": 0.1}
