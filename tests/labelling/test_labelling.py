"""The engine of `glip label`: shards, ranks, restarts, and the forms of other programs."""

import json
import os
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from disks import full_after
from helpers import write_image
from models import random_weights, write_checkpoint

from glip_pl.cli import main
from glip_pl.inference.options import Options
from glip_pl.inference.predictor import Predictor
from glip_pl.labelling.engine import Engine
from glip_pl.labelling.export import export, uncertainty
from glip_pl.labelling.ranks import rank_and_world
from glip_pl.labelling.shard_file import Head, read_head, read_records, shard_file
from glip_pl.labelling.sources import shards_of
from glip_pl.labelling.tasks import NamedBoxes

NAMES = [f"{k}.png" for k in range(7)]


@pytest.fixture(scope="module")
def model():
    return Predictor(random_weights(), device=torch.device("cpu"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(NAMES):
        write_image(folder / name, 40 + 10 * (k % 2), 60, seed=k)
    return folder


@pytest.fixture
def engine(model, tmp_path):
    asked = model.compile("red circle. blue square.", False)
    task = NamedBoxes(model, asked)
    return Engine(model, task, Options(threshold=0.5), tmp_path / "out", batch_size=2)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def test_any_number_of_processes_writes_the_same_bytes(engine, model, photos, tmp_path):
    shards = shards_of([str(photos)], 2)
    engine.run(shards)
    other = Engine(model, engine.task, engine.options, tmp_path / "other", batch_size=2)

    for rank in (1, 0, 2):
        other.run(shards, rank=rank, world=3)

    assert contents(tmp_path / "other") == contents(engine.output)
    assert len(shards) == 4


def test_a_restart_with_other_processes_does_what_is_left(engine, photos):
    shards = shards_of([str(photos)], 2)
    engine.run(shards, rank=0, world=2)
    before = {path: path.stat().st_mtime_ns for path in map(engine.path_of, shards[::2])}

    progress = [engine.run(shards, rank=rank, world=3).done for rank in range(3)]

    assert sum(progress) == 3  # Shards 1 and 3, of two images and one.
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_a_killed_shard_leaves_nothing_that_looks_done(tmp_path):
    head = Head("w", "p", "i", "s", ("cat",))

    def interrupted():
        with shard_file(tmp_path / "0.jsonl", head) as add:
            add({"image": "a"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert list(tmp_path.iterdir()) == []


def test_a_shard_says_what_made_it(engine, photos, model):
    (shard,) = shards_of([str(photos)], 100)
    engine.run([shard])

    head = read_head(engine.path_of(shard))

    assert head.weights == model.digest()
    assert head.phrases == ("red circle", "blue square")
    assert [Path(r["image"]).name for r in read_records(engine.path_of(shard))] == NAMES


def test_another_prompt_into_the_same_output_is_refused(engine, photos, model):
    shards = shards_of([str(photos)], 100)
    engine.run(shards)
    task = NamedBoxes(model, model.compile("dog", False))
    other = Engine(model, task, engine.options, engine.output)

    with pytest.raises(ValueError, match="labelled with other prompt, phrases"):
        other.run(shards)


def test_two_that_ask_for_other_things_at_once_do_not_mix(engine, photos, model):
    shards = shards_of([str(photos)], 4)
    task = NamedBoxes(model, model.compile("dog", False))
    other = Engine(model, task, engine.options, engine.output)

    def other_takes_the_second(progress):
        if progress.done == 1:
            other.run(shards, rank=1, world=2)

    engine.run(shards, rank=0, world=2, report=other_takes_the_second)

    with pytest.raises(ValueError, match=r"000001.jsonl' was labelled with other prompt, phrases"):
        engine.left(shards)


def test_a_shard_that_another_labelled_in_the_meantime_is_left_to_it(engine, photos, model):
    shards = shards_of([str(photos)], 100)
    task = NamedBoxes(model, model.compile("dog", False))
    other = Engine(model, task, engine.options, engine.output)

    def other_is_faster(progress):
        if progress.done == 1:
            other.run(shards)

    with pytest.raises(ValueError, match="labelled with other prompt, phrases"):
        engine.run(shards, report=other_is_faster)

    assert read_head(engine.path_of(shards[0])).phrases == ("dog",)


def test_a_full_disk_leaves_no_shard(engine, photos):
    shards = shards_of([str(photos)], 100)

    with full_after(600), pytest.raises(ValueError, match=r"000000.jsonl' cannot be written"):
        engine.run(shards)

    assert contents(engine.output) == {}


def test_images_that_have_changed_are_refused(engine, photos):
    engine.run(shards_of([str(photos / "0.png")], 100))

    with pytest.raises(ValueError, match="with other images"):
        engine.run(shards_of([str(photos / "0.png"), str(photos / "1.png")], 100))


def test_what_fails_is_recorded_and_the_rest_done(engine, tmp_path):
    write_image(tmp_path / "in/a.png", 40, 60)
    (tmp_path / "in/b.jpg").write_bytes(b"no image")
    (shard,) = shards_of([str(tmp_path / "in")], 10)

    progress = engine.run([shard])

    good, bad = read_records(engine.path_of(shard))
    assert "detections" in good
    assert "cannot read the image" in bad["error"]
    assert [Path(failure.name).name for failure in progress.failures] == ["b.jpg"]


def test_a_shard_of_a_webdataset_is_one_shard(engine, photos, tmp_path):
    with tarfile.open(tmp_path / "set-000.tar", "w") as tar:
        tar.add(photos / "0.png", "0.png")
        tar.addfile(tarfile.TarInfo("0.json"))
        tar.add(photos / "1.png", "1.png")

    (shard,) = shards_of([str(tmp_path / "set-000.tar")], 1)
    engine.run([shard])

    records = list(read_records(engine.path_of(shard)))
    assert [r["image"] for r in records] == [f"{tmp_path}/set-000.tar/{k}.png" for k in (0, 1)]


def test_the_frames_of_a_video_are_labelled(model, engine, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for k in range(5):
        writer.write(np.full((48, 64, 3), 40 * k, np.uint8))
    writer.release()
    (shard,) = shards_of([str(tmp_path / "v.avi")], 100)
    every = Engine(model, engine.task, engine.options, tmp_path / "every", every=2)

    progress = every.run([shard])

    assert (progress.done, progress.images) == (3, 3)
    names = [record["image"] for record in read_records(every.path_of(shard))]
    assert names == [f"{tmp_path}/v.avi#{k}" for k in (0, 2, 4)]


def test_a_video_without_frames_is_a_failure(engine, tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video")

    progress = engine.run(shards_of([str(tmp_path / "v.mp4")], 100))

    assert "has no frame" in progress.failures[0].reason


def test_a_table_gives_each_image_a_prompt(engine, photos, tmp_path):
    rows = ["image\tprompt", f"{photos}/0.png\tgreen triangle", f"{photos}/1.png"]
    (tmp_path / "t.tsv").write_text("\ufeff" + "\n".join(rows))
    (shard,) = shards_of([str(tmp_path / "t.tsv")], 100)

    assert [item.prompt for item in shard.items] == ["green triangle", None]
    engine.run([shard])
    first, second = read_records(engine.path_of(shard))
    assert {d["phrase"] for d in first["detections"]} <= {"green triangle"}
    assert {d["phrase"] for d in second["detections"]} <= {"red circle", "blue square"}


def test_nothing_to_label_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to label at"):
        shards_of([str(tmp_path / "*.jpg")], 10)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "3"}, (1, 3)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "5",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "4",
            },
            (1, 4),
        ),
        (
            {
                "SLURM_ARRAY_TASK_ID": "1",
                "SLURM_ARRAY_TASK_COUNT": "2",
                "SLURM_PROCID": "1",
                "SLURM_NTASKS": "2",
            },
            (3, 4),
        ),
    ],
)
def test_a_process_knows_its_place(environment, place):
    assert rank_and_world(None, None, environment) == place


def test_a_place_beyond_the_last_is_refused():
    with pytest.raises(ValueError, match="rank=2 of world=2"):
        rank_and_world(2, 2, {})


@pytest.fixture
def shard(tmp_path):
    """A labelled shard by hand: a sure image, an unsure one, and one that failed."""
    path = tmp_path / "shards/000000.jsonl"
    box = {"phrase": "cat & <dog>", "score": 0.9, "box": [10.0, 20.0, 30.0, 60.0]}
    with shard_file(path, Head("w", "p", "i", "s", ("bird", "cat & <dog>"))) as add:
        add({"image": "a.jpg", "height": 100, "width": 200, "detections": [box]})
        unsure = {**box, "score": 0.4}
        add({"image": "b.jpg", "height": 100, "width": 200, "detections": [unsure, box]})
        add({"image": "c.jpg", "error": "broken"})
    return path


def exported(shard, name, **options):
    (path,) = export([shard], shard.parents[1], [name], **options)
    return path


def test_as_coco(shard):
    document = json.loads(exported(shard, "coco").read_text())

    assert [image["file_name"] for image in document["images"]] == ["a.jpg", "b.jpg"]
    assert document["categories"][1] == {"id": 2, "name": "cat & <dog>"}
    first = document["annotations"][0]
    assert (first["bbox"], first["category_id"], first["area"]) == ([10, 20, 20, 40], 2, 800)


def test_as_odvg(shard):
    lines = [json.loads(line) for line in exported(shard, "odvg").read_text().splitlines()]

    assert lines[0]["detection"]["instances"][0]["bbox"] == [10, 20, 30, 60]


def test_as_label_studio_in_percent(shard):
    tasks = json.loads(exported(shard, "label_studio").read_text())

    value = tasks[0]["predictions"][0]["result"][0]["value"]
    assert [value[side] for side in ("x", "y", "width", "height")] == [5, 20, 10, 40]


def test_as_cvat(shard):
    tree = ElementTree.fromstring(exported(shard, "cvat").read_text())

    box = tree.find("image/box")
    assert (box.get("label"), box.get("xbr")) == ("cat & <dog>", "30.0")


def test_as_parquet(shard):
    parquet = pytest.importorskip("pyarrow.parquet")

    table = parquet.read_table(exported(shard, "parquet") / "000000.parquet")

    assert table.num_rows == 3
    assert table.schema.metadata[b"weights"] == b"w"


def test_the_least_sure_image_comes_first_where_asked_for(shard):
    lines = exported(shard, "jsonl", uncertain_first=True).read_text().splitlines()

    assert [json.loads(line)["image"] for line in lines] == ["b.jpg", "a.jpg"]
    assert uncertainty({"detections": []}) == 0


def test_the_command_labels_lists_failures_and_exits_with_1(photos, tmp_path, capsys):
    checkpoint = write_checkpoint(tmp_path / "m.ckpt", random_weights())
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "label",
                f"--images=[{photos},{tmp_path}/pipe.jpg]",
                "--prompt=red circle.",
                f"--weights={checkpoint}",
                f"--output={tmp_path}/out",
                "--formats=[coco]",
                "--num_workers=1",
            ]
        )

    assert stopped.value.code == 1
    told = capsys.readouterr()
    assert "8 of 8 images" in told.out
    assert "next:    glip data show " in told.out
    assert "pipe.jpg" in told.err
    assert len(json.loads((tmp_path / "out/labels.coco.json").read_text())["images"]) == 7
