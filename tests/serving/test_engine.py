"""The API behind the server: the same answers, one by one or together."""

import numpy as np
import pytest
import torch
from models import random_weights

from glip_pl.inference.predictor import Predictor
from glip_pl.serving.engine import Ask, predictor_engine
from glip_pl.serving.models import open_models


@pytest.fixture(scope="module")
def model():
    return Predictor(random_weights(), device=torch.device("cpu"))


def image(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, 60, 3), dtype=np.uint8)


def test_questions_that_came_together_are_answered_as_the_api_answers_each(model):
    asks = [
        Ask(image(40), "red circle. blue square.", threshold=0.2),
        Ask(image(50), "a red circle beside a blue square", caption=True),
        Ask(image(40, seed=1), "blue square.", threshold=0.2),
    ]

    answers = predictor_engine(model)(asks)

    for ask, answer in zip(asks, answers, strict=True):
        (alone,) = model.predict(
            ask.image, ask.prompt, caption=ask.caption, threshold=ask.threshold
        )
        assert answer.detections == alone.to_dict()["detections"]
    assert any(answer.detections for answer in answers)


def test_a_prompt_without_a_name_spoils_no_other(model):
    asks = [Ask(image(40), ". ."), Ask(image(40), "red circle.")]

    wrong, right = predictor_engine(model)(asks)

    assert isinstance(wrong, ValueError)
    assert right.notes == ()


def test_a_name_that_was_not_trained_is_told(model):
    (answer,) = predictor_engine(model)([Ask(image(40), "dog. red circle.")])

    assert "trained on 3 names; 'dog' is none of them" in answer.notes[0]


def test_models_are_called_by_their_files_or_runs_or_as_one_likes(monkeypatch):
    monkeypatch.setattr("glip_pl.serving.models._open", lambda source, device: source)
    run = "runs/deep-tiny-shapes/version_0/checkpoints/best.ckpt"

    opened = open_models(["late.ckpt", run, "mine=a/last.ckpt", "exported/late-onnx"])

    assert opened == {
        "late": "late.ckpt",
        "deep-tiny-shapes": run,
        "mine": "a/last.ckpt",
        "late-onnx": "exported/late-onnx",
    }


def test_two_models_of_one_name_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"several models called best; .*best=a/best\.ckpt"):
        open_models(["a/best.ckpt", "b/best.ckpt"])
