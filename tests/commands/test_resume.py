"""Which checkpoint is meant, and what it decides."""

import os

import pytest
from jsonargparse import Namespace

from glip_pl.cli import main
from glip_pl.commands.resume import keep_postprocess, newest, overridden
from glip_pl.commands.said import said


def trainer(folder, name):
    return Namespace(logger=Namespace(init_args=Namespace(save_dir=str(folder), name=name)))


def write(folder, run, *, at):
    path = folder / run / "checkpoints/last.ckpt"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (at, at))
    return str(path)


def test_last_is_the_newest_of_the_runs_of_a_name(tmp_path):
    write(tmp_path, "deep-tiny-shapes/version_2", at=1)
    newer = write(tmp_path, "deep-tiny-shapes/version_0", at=2)
    write(tmp_path, "late-tiny-shapes/version_0", at=3)

    assert newest("fit", "last", trainer(tmp_path, "deep-tiny-shapes")) == newer


def test_a_test_looks_for_the_newest_run_on_its_data(tmp_path):
    write(tmp_path, "deep-tiny-shapes/version_0", at=1)
    newer = write(tmp_path, "late-tiny-shapes/version_0", at=2)
    write(tmp_path, "late-tiny-bccd/version_0", at=3)

    assert newest("test", "last", trainer(tmp_path, "test-shapes")) == newer


def test_where_no_run_has_the_name_last_is_refused(tmp_path):
    write(tmp_path, "late-tiny-bccd/version_0", at=1)

    with pytest.raises(ValueError, match=r"no run in .*shapes has a last\.ckpt; train one first"):
        newest("test", "last", trainer(tmp_path, "test-shapes"))


@pytest.mark.parametrize("logger", [None, False, Namespace(class_path="x")])
def test_without_a_name_last_is_refused(logger):
    with pytest.raises(ValueError, match=r"this command has none; name what was trained"):
        newest("test", "last", Namespace(logger=logger))


def test_options_that_a_checkpoint_decides_are_told():
    asked = Namespace(d_model=64, optimizer=Namespace(lr=0.5), text=Namespace(d_text=32))
    decided = Namespace(d_model=64, optimizer=Namespace(lr=0.1), text=Namespace(d_text=32))

    assert overridden(asked, decided) == ["--model.optimizer.lr=0.5 (it has 0.1)"]


def test_an_evaluation_tells_what_was_said_alone():
    asked = Namespace(d_model=32, extra=1, optimizer=Namespace(lr=0.5), told="phrases")
    decided = Namespace(d_model=64, extra=2, optimizer=Namespace(lr=0.1), told="tokens")

    told = overridden(asked, decided, [("d_model",), ("optimizer", "lr")])

    assert told == ["--model.d_model=32 (it has 64)"]


def test_how_scores_become_detections_is_a_choice_of_the_evaluation():
    asked = Namespace(postprocess=Namespace(max_detections=300, nms_iou=0.6))
    decided = Namespace(postprocess=Namespace(max_detections=100, nms_iou=1.0))

    keep_postprocess(asked, decided, [("postprocess", "max_detections")])

    assert decided.postprocess == Namespace(max_detections=300, nms_iou=1.0)


def test_what_is_said_is_typed_or_written(tmp_path):
    (tmp_path / "a.yaml").write_text("model: {d_model: 8, neck: {init_args: {x: 1}}}\ndata: {}\n")

    assert list(said(["--model.told=phrases", f"--config={tmp_path / 'a.yaml'}"], "model")) == [
        ("told",),
        ("d_model",),
        ("neck", "init_args", "x"),
    ]


def test_testing_the_last_of_no_run_ends_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        main(["test", "--data=shapes", "--ckpt_path=last"])

    assert ended.value.code == 2
    assert "no run in runs/*-shapes or runs/shapes has a last.ckpt" in capsys.readouterr().err
