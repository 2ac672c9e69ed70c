"""The Python API: the same boxes however they are asked for, and clear words for bad input."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from disks import full_after
from models import random_weights, write_checkpoint
from PIL import Image

import glip_pl
from glip_pl.inference.hints import foreign_names
from glip_pl.inference.predictor import Predictor

PROMPT = "red circle. blue square."
ALL = {"threshold": 0.0, "max_detections": 5}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


IMAGES = [noise(64, 64), noise(80, 64, 1), noise(64, 100, 2), noise(30, 64, 3)]


@pytest.fixture(scope="module", params=["late.LateFusion", "deep.DeepFusion"])
def model(request):
    return Predictor(random_weights(request.param), device=torch.device("cpu"))


@pytest.fixture(scope="module")
def late():
    return Predictor(random_weights(), device=torch.device("cpu"))


def same(one, other):
    return (
        one.names == other.names
        and torch.allclose(one.boxes, other.boxes, atol=1e-3)
        and torch.allclose(one.scores, other.scores, atol=1e-5)
    )


def test_images_together_give_what_each_gives_alone(model):
    together = model.predict(IMAGES, PROMPT, **ALL)

    for image, result in zip(IMAGES, together, strict=True):
        assert same(result, model.predict(image, PROMPT, **ALL)[0])


def test_prompts_of_other_lengths_in_the_call_change_nothing(model):
    prompts = ["red circle.", PROMPT, "a. b. c. d. e. f. g.", "blue square"]
    mixed = model.predict([IMAGES[0]] * 4, prompts, batch_size=4, **ALL)

    for prompt, result in zip(prompts, mixed, strict=True):
        assert same(result, model.predict(IMAGES[0], prompt, **ALL)[0])


def test_threads_share_a_model(late):
    expected = [late.predict(image, PROMPT, **ALL)[0] for image in IMAGES]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda k: late.predict(IMAGES[k % 4], PROMPT, **ALL)[0], range(8)))

    assert all(same(result, expected[k % 4]) for k, result in enumerate(found))


def test_an_encoded_image_answers_any_prompt(model):
    encoded = model.encode_image(IMAGES[1])

    for prompt in (PROMPT, "green triangle"):
        found = model.predict(encoded, prompt, **ALL)[0]
        assert same(found, model.predict(IMAGES[1], prompt, **ALL)[0])


def test_the_words_of_a_box_make_its_score(model):
    found = model.predict(IMAGES[0], PROMPT, **ALL)[0]
    words = model.word_map(IMAGES[0], PROMPT)

    region = words.region_of(found.boxes[0])
    phrase = int(found.labels[0])
    expected = (words.phrase_alignment[region, phrase] * words.centerness[region]).sqrt()
    assert found.scores[0].item() == pytest.approx(expected.item(), abs=1e-5)
    assert [word for word, _ in words.words_of(found.boxes[0])][:3] == ["red", "circle", "."]


def test_text_is_encoded_as_the_network_reads_it(late):
    (features,) = late.encode_text(PROMPT)

    assert features.hidden.shape == (1, 7, 32)


def test_windows_find_what_the_whole_image_has_and_more(late):
    whole = late.predict(IMAGES[2], PROMPT, threshold=0.0)[0]
    tiled = late.predict(IMAGES[2], PROMPT, threshold=0.0, tile=40)[0]

    assert whole.scores[0] <= tiled.scores[0]
    assert bool((tiled.boxes[:, 2] <= 100).all())


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IMAGES[0]),
        torch.from_numpy(IMAGES[0]).permute(2, 0, 1),
        torch.from_numpy(IMAGES[0]).permute(2, 0, 1) / 255,
        IMAGES[0] / 255,
        np.dstack([IMAGES[0], IMAGES[0][..., :1]]),
    ],
    ids=["pillow", "uint8 tensor", "float tensor", "float array", "transparent"],
)
def test_an_image_of_any_kind_is_the_same_image(late, image):
    assert same(late.predict(image, PROMPT, **ALL)[0], late.predict(IMAGES[0], PROMPT, **ALL)[0])


def test_a_file_is_read_and_named(late, tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")

    found = late.predict(tmp_path / "a.png", PROMPT, **ALL)[0]

    assert found.source == str(tmp_path / "a.png")
    assert same(found, late.predict(IMAGES[0], PROMPT, **ALL)[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there is no image"),
        (7, "there is no image"),
        ([None], "of type NoneType"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \[4, 4, 2\] is no image"),
        (np.zeros((3, 9, 9), np.uint8), r"image.transpose\(1, 2, 0\)"),
        (np.zeros((0, 9, 3), np.uint8), "has no pixel"),
        (np.zeros((9, 9, 3), np.int64), "int64 has no known range"),
        (np.full((9, 9, 3), 1.5), "from 0 to 1"),
        (np.full((9, 9, 3), np.nan), "from 0 to 1"),
        (torch.zeros(9, 9, 3), r"image.permute\(2, 0, 1\)"),
        (torch.zeros(2), "is no image"),
        (torch.zeros(3, 9, 9, device="meta"), "without data"),
        (torch.zeros(3, 9, 9).to_sparse(), "to_dense"),
        ("a" * 5000, "cannot read the image"),
        ("http://example.org/a.jpg", "pass urls=True"),
        ("nowhere.jpg", "no such file"),
        (".", "it is a folder"),
    ],
)
def test_what_is_no_image_is_refused(late, images, message):
    with pytest.raises(ValueError, match=message):
        late.predict(images, PROMPT)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (7, "of type int"),
        (None, "of type NoneType"),
        ([], "0 prompts for 1 images"),
        (["a", "b"], "2 prompts for 1 images"),
        ([1], "of type int"),
        ("", "names nothing"),
    ],
)
def test_what_is_no_prompt_is_refused(late, prompt, message):
    with pytest.raises(ValueError, match=message):
        late.predict(IMAGES[0], prompt)


@pytest.mark.parametrize(
    "option",
    [
        {"threshold": 2},
        {"threshold": {"a": -1}},
        {"nms_iou": 0},
        {"tile": 0},
        {"overlap": 1.0},
        {"batch_size": 0},
        {"max_detections": 0},
        {"threshold": "high"},
        {"nms_iou": None},
        {"tile": "a"},
        {"max_side": 1.5},
        {"max_detections": 1.5},
        {"batch_size": 2.5},
    ],
)
def test_an_option_out_of_range_is_named(late, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        late.predict(IMAGES[0], PROMPT, **option)


@pytest.mark.parametrize(
    ("video", "options", "message"),
    [
        (None, {}, "video is of type NoneType and names nothing; give a path"),
        (0, {}, r"video is of type int \('0'\) and names nothing"),
        (b"v.mp4", {}, "video is of type bytes"),
        ([IMAGES[0]], {}, "video is of type list and names nothing"),
        ("", {}, "names nothing"),
        (".", {}, "is a folder; pass a video in it"),
        ("none.mp4", {}, "no video 'none.mp4'; correct the path"),
        ("http://example.org/v.mp4", {}, "correct the path"),
        (
            __file__,
            {"options": {"threshold": 0.5}},
            "options of type dict are none; give",
        ),
        ("v.mp4", {"every": 0}, "every=0 must be a positive"),
        ("v.mp4", {"every": 1.5}, "every=1.5 must be a positive"),
        ("v.mp4", {"batch_size": 0}, "batch_size=0 must be a positive"),
    ],
)
def test_what_is_no_video_is_refused_when_it_is_asked_for(late, video, options, message):
    with pytest.raises(ValueError, match=message):
        late.stream(video, PROMPT, **options)


@pytest.mark.parametrize("source", [None, 3, b"m.ckpt", [], ""])
def test_what_is_no_name_of_a_model_is_refused(late, source):
    with pytest.raises(ValueError, match=r"source is of type .* names nothing; give a path"):
        glip_pl.load(source)
    with pytest.raises(ValueError, match=r"folder is of type .* names nothing; give a path"):
        late.save(source)


@pytest.mark.parametrize("repository", [None, "", "cells", "me/", "a/b/c"])
def test_what_is_no_name_of_a_repository_is_refused(late, repository):
    with pytest.raises(ValueError, match='names no repository of the hub; write "user/name"'):
        late.push_to_hub(repository)


def test_a_video_without_frames_is_told(late, tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video")

    with pytest.raises(ValueError, match=r"v.mp4' has no frame that can be read; replace the file"):
        list(late.stream(tmp_path / "v.mp4", PROMPT))


def test_a_full_disk_leaves_no_half_of_a_model(late, tmp_path):
    with (
        full_after(100_000),
        pytest.raises(ValueError, match=r"out' cannot be written .*make room"),
    ):
        late.save(tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_thresholds_of_a_calibration_are_used_unless_overridden():
    stored = {"red circle": 0.999, "blue square": 0.0}
    calibrated = Predictor(random_weights(thresholds=stored), device=torch.device("cpu"))

    found = calibrated.predict(IMAGES[0], PROMPT, best_only=False)[0]
    assert set(found.names) == {"blue square"}
    found = calibrated.predict(IMAGES[0], PROMPT, threshold=0.0, best_only=False)[0]
    assert set(found.names) == {"red circle", "blue square"}


def test_scores_of_a_calibrated_model_are_probabilities_also_when_it_was_saved(tmp_path):
    known = random_weights(score_temperature=2.0, score_shift=0.5)
    Predictor(known, device=torch.device("cpu")).save(tmp_path / "saved")

    found = glip_pl.load(tmp_path / "saved", device="cpu").probabilities(torch.tensor([0.5, 0.9]))

    # logit(0.9) = ln 9, half of which is ln 3.
    sure = 3 * math.exp(0.5)
    expected = torch.tensor([1 / (1 + math.exp(-0.5)), sure / (1 + sure)])
    torch.testing.assert_close(found, expected)


def test_a_model_that_was_not_calibrated_knows_no_probabilities(late):
    with pytest.raises(ValueError, match="was not calibrated; run: glip calibrate"):
        late.probabilities(torch.tensor([0.5]))


def test_one_thing_has_one_name_unless_all_are_asked_for(late):
    one = late.predict(IMAGES[0], PROMPT, threshold=0.0)[0]
    every = late.predict(IMAGES[0], PROMPT, threshold=0.0, best_only=False)[0]

    assert len(one) < len(every)


def test_a_saved_model_finds_the_same(model, tmp_path):
    model.save(tmp_path / "folder")
    again = glip_pl.load(tmp_path / "folder")

    assert again.predict(IMAGES[0], PROMPT, **ALL)[0].to_dict() == (
        model.predict(IMAGES[0], PROMPT, **ALL)[0].to_dict()
    )
    assert again.digest() == model.digest()


def test_bf16_finds_nearly_the_same_and_is_not_saved(tmp_path):
    path = write_checkpoint(tmp_path / "run.ckpt", random_weights())
    narrow, wide = (glip_pl.load(path, precision=p) for p in ("bf16", "fp32"))

    found, exact = (m.predict(IMAGES[0], PROMPT, **ALL)[0] for m in (narrow, wide))

    assert found.scores[0].item() == pytest.approx(exact.scores[0].item(), abs=0.03)
    with pytest.raises(ValueError, match="load it in fp32"):
        narrow.save(tmp_path / "folder")


def test_a_model_is_pushed_as_a_folder(late, monkeypatch):
    pushed = {}

    class Hub:
        def create_repo(self, repository, **options):
            pushed["repository"] = repository
            return f"https://hub/{repository}"

        def upload_folder(self, *, repo_id, folder_path):
            pushed["files"] = {path.name for path in folder_path.iterdir()}

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)

    assert late.push_to_hub("me/cells") == "https://hub/me/cells"
    assert {"model.safetensors", "model.yaml", "README.md"} <= pushed["files"]


def test_names_that_the_training_never_had_are_told_apart(late):
    assert foreign_names(("dog", "red square"), late.class_names) == ["dog"]


def test_a_result_notes_names_that_the_training_never_had(late):
    known, foreign = late.predict([noise(64, 64)] * 2, ["red circle.", "dog."], threshold=1.0)

    assert known.notes == ()
    assert "'dog' is none of them" in repr(foreign)
