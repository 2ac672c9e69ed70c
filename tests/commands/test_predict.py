import json

import numpy as np
import pytest
import torch
from PIL import Image

from glip_pl.cli import main
from glip_pl.commands.predict import image_files, unnamed
from glip_pl.prompts.request import parse_caption
from glip_pl.structures import Detections


def detections(*found):
    """Boxes of one row: (left, right, score)."""
    boxes = [[left, 0.0, right, 10.0] for left, right, _ in found]
    scores = [score for *_, score in found]
    return Detections(
        torch.tensor(boxes), torch.tensor(scores), torch.zeros(len(found), dtype=torch.long)
    )


def test_a_thing_that_the_prompt_does_not_name_is_unknown():
    known = detections((0, 10, 0.9), (50, 60, 0.8), (80, 90, 0.1))

    found = unnamed(known, torch.tensor([[1.0, 0, 10, 10]]), threshold=0.3)

    # The first is named already, the last is not sure enough.
    assert found.boxes[:, 0].tolist() == [50]


def test_a_thing_with_several_possible_names_is_unknown_once():
    known = detections((0, 10, 0.9), (0, 9, 0.8))

    assert len(unnamed(known, torch.zeros(0, 4), threshold=0.3).scores) == 1


def test_a_caption_marks_its_phrases_with_brackets():
    prompt = parse_caption("[a cat] on [the sofa].")

    assert prompt.caption == "a cat on the sofa."
    assert prompt.phrases == ("a cat", "the sofa")


def test_a_caption_may_begin_with_words_that_are_no_phrase():
    prompt = parse_caption("see [a cat]")

    assert (prompt.caption, prompt.phrases) == ("see a cat", ("a cat",))


@pytest.mark.parametrize("text", ["a cat", "[a cat on the sofa", "[] here", ""])
def test_a_caption_without_proper_brackets_is_refused(text):
    with pytest.raises(ValueError, match=r"\[a cat\] on \[the sofa\]"):
        parse_caption(text)


def test_images_are_found_by_file_folder_and_glob(tmp_path):
    for name in ("a.jpg", "b.png", "notes.txt"):
        (tmp_path / name).touch()

    assert [p.name for p in image_files(str(tmp_path))] == ["a.jpg", "b.png"]
    assert [p.name for p in image_files(str(tmp_path / "a.jpg"))] == ["a.jpg"]
    assert [p.name for p in image_files(str(tmp_path / "*.png"))] == ["b.png"]


def test_a_path_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no image at"):
        image_files(str(tmp_path / "*.jpg"))


@pytest.fixture
def checkpoint(shapes_arguments, tmp_path):
    main(["fit", *shapes_arguments, "--trainer.limit_val_batches=1"])
    return tmp_path / "runs/run/version_0/checkpoints/last.ckpt"


def test_predict_writes_a_picture_and_a_record_per_image(checkpoint, shapes_root, tmp_path, capsys):
    out = tmp_path / "out"
    image = sorted((shapes_root / "images").iterdir())[0]

    main(
        [
            "predict",
            f"--ckpt_path={checkpoint}",
            f"--image={image}",
            "--prompt=red circle. blue square.",
            "--threshold=0",
            "--unknown=true",
            f"--output={out}",
        ]
    )

    (record,) = json.loads((out / "predictions.json").read_text())
    assert record["image"] == str(image)
    assert {d["phrase"] for d in record["detections"]} <= {"red circle", "blue square", "unknown"}
    picture = np.asarray(Image.open(out / f"{image.stem}.png"))
    assert f"{image.name}: " in capsys.readouterr().out
    # A small image is enlarged by a whole factor, so that the words can be read.
    assert picture.shape == (384, 384, 3)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--prompt=. .", "names nothing"),
        ("--image=nowhere.jpg", "no image at 'nowhere.jpg'"),
        ("--ckpt_path=none.ckpt", "there is no checkpoint 'none.ckpt'"),
        ("--prompt=" + "very " * 300 + "long", "tokens"),
    ],
)
def test_what_predict_refuses(checkpoint, shapes_root, tmp_path, capsys, option, message):
    image = sorted((shapes_root / "images").iterdir())[0]
    arguments = [f"--ckpt_path={checkpoint}", f"--image={image}", "--prompt=cat."]

    with pytest.raises(SystemExit) as stopped:
        main(["predict", *arguments, f"--output={tmp_path}/out", option])

    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_broken_image_is_named(checkpoint, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")

    with pytest.raises(SystemExit):
        main(["predict", f"--ckpt_path={checkpoint}", f"--image={broken}", "--prompt=cat."])

    assert "broken.jpg" in capsys.readouterr().err
