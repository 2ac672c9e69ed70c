import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import full_after
from helpers import write_image
from models import random_weights, write_checkpoint
from PIL import Image

import glip_pl
from glip_pl.cli import main
from glip_pl.inference import many
from glip_pl.inference.files import Outputs, RecordFile, image_files
from glip_pl.inference.network import unnamed
from glip_pl.inference.options import Options
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


def test_a_video_is_for_another_command(tmp_path):
    (tmp_path / "v.mp4").touch()

    with pytest.raises(ValueError, match="is a video; type: glip label --images="):
        image_files(str(tmp_path / "v.mp4"))


@pytest.fixture
def checkpoint(trained_run):
    return trained_run / "checkpoints/last.ckpt"


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
    picture = np.asarray(Image.open(out / image.name))
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


@pytest.fixture
def ready(tmp_path):
    """Options of a model that is there at once."""
    checkpoint = write_checkpoint(tmp_path / "random.ckpt", random_weights())
    return [f"--weights={checkpoint}", "--prompt=red circle.", f"--output={tmp_path}/out"]


def write(folder, *names):
    for k, name in enumerate(names):
        write_image(folder / name, 40, 60, seed=k)


def test_what_cannot_be_read_is_listed_and_the_rest_done(ready, tmp_path, capsys):
    write(tmp_path / "in", "1.png", "4.png")
    (tmp_path / "in/2.jpg").write_bytes(b"no image")
    (tmp_path / "in/3.jpg").mkdir()
    os.mkfifo(tmp_path / "in/5.jpg")

    with pytest.raises(SystemExit) as stopped:
        main(["predict", *ready, f"--image={tmp_path}/in"])

    assert stopped.value.code == 1
    records = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [Path(record["image"]).name for record in records] == ["1.png", "4.png"]
    told = capsys.readouterr().err
    assert "3 of 5 images failed" in told
    assert "it is a folder" in told
    assert "5.jpg: " in told


@pytest.mark.parametrize(
    ("batch_size", "num_workers", "told"),
    [(0, None, "batch_size=0"), (8, -1, "num_workers=-1")],
)
def test_no_images_at_a_time_and_fewer_than_no_processes_are_refused(batch_size, num_workers, told):
    found = many.detections(None, [], [], Options(), batch_size=batch_size, num_workers=num_workers)

    with pytest.raises(ValueError, match=told):
        next(found)


def test_an_input_is_never_written_over(ready, tmp_path):
    write(tmp_path / "own", "a.png")
    before = (tmp_path / "own/a.png").read_bytes()

    main(["predict", *ready, f"--image={tmp_path}/own", f"--output={tmp_path}/own"])

    assert (tmp_path / "own/a.png").read_bytes() == before
    assert (tmp_path / "own/a-found.png").is_file()


def test_a_link_that_leads_back_to_itself_is_an_input_like_others(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")

    outputs = Outputs(tmp_path / "out", [tmp_path / "loop.jpg"])

    assert outputs.picture_of(tmp_path / "loop.jpg") == tmp_path / "out/loop.jpg"


def test_every_input_has_a_picture_of_its_own(tmp_path):
    names = ["a.jpg", "a.png", "a.bmp", "a.bmp.png", "sub/a.jpg", "other/a.jpg"]
    outputs = Outputs(tmp_path / "out", [tmp_path / name for name in names])

    pictures = [outputs.picture_of(tmp_path / name) for name in names]

    assert len(set(pictures)) == len(names)
    assert pictures[0] == tmp_path / "out/a.jpg"
    assert pictures[4] == tmp_path / "out/sub/a.jpg"


def test_a_jpeg_stays_one(ready, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpeg")

    main(["predict", *ready, f"--image={tmp_path}/a.jpeg"])

    assert Image.open(tmp_path / "out/a.jpeg").format == "JPEG"


def test_the_records_so_far_are_a_whole_file(tmp_path):
    with RecordFile(tmp_path / "r.json") as kept:
        assert json.loads((tmp_path / "r.json").read_text()) == []
        for k in range(3):
            kept.add({"k": k})
            assert len(json.loads((tmp_path / "r.json").read_text())) == k + 1


def test_a_full_disk_leaves_the_records_so_far(tmp_path):
    kept = RecordFile(tmp_path / "r.json")
    with kept:
        kept.add({"k": 0})
        with full_after(100), pytest.raises(ValueError, match=r"1 images in it.*make room"):
            kept.add({"k": "x" * 200})

    assert json.loads((tmp_path / "r.json").read_text()) == [{"k": 0}]


def test_two_commands_do_not_write_the_same_records(tmp_path):
    with RecordFile(tmp_path / "r.json") as kept:
        with pytest.raises(ValueError, match=r"another process is writing .*r.json.*--output"):
            RecordFile(tmp_path / "r.json").__enter__()
        kept.add({"k": 0})

    assert json.loads((tmp_path / "r.json").read_text()) == [{"k": 0}]


def test_the_command_finds_what_the_api_finds(ready, tmp_path):
    write(tmp_path / "in", "1.png", "2.png")
    main(["predict", *ready, f"--image={tmp_path}/in", "--threshold=0.4"])

    model = glip_pl.load(tmp_path / "random.ckpt")
    alone = [
        model.predict(tmp_path / "in" / name, "red circle.", threshold=0.4)[0].to_dict()
        for name in ("1.png", "2.png")
    ]

    assert json.loads((tmp_path / "out/predictions.json").read_text()) == alone


def test_a_strip_of_an_image_takes_no_memory(ready, tmp_path):
    write_image(tmp_path / "in/wide.png", 1, 4000)
    write_image(tmp_path / "in/tall.png", 4000, 1)

    main(["predict", *ready, f"--image={tmp_path}/in", "--pictures=false"])

    assert len(json.loads((tmp_path / "out/predictions.json").read_text())) == 2


def test_a_name_that_the_training_never_had_is_told(ready, tmp_path, capsys):
    write(tmp_path, "a.png")

    main(["predict", *ready, f"--image={tmp_path}/a.png", "--prompt=dog"])

    assert "trained on 3 names; 'dog' is none of them" in capsys.readouterr().out
