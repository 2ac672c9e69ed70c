import errno
import os
import signal

import pytest
import torch
from pytorch_lightning import Callback
from tiny_run import assert_equal, fit, tiny_task, write_set

from glip_pl.cli import main
from glip_pl.training.checkpoint_io import SafeCheckpointIO
from glip_pl.training.checkpoints import BestCheckpoint, LastCheckpoint
from glip_pl.training.stop import Stopped

STATE = {"state_dict": {"weight": torch.ones(2)}}


class At(Callback):
    """Does something at the start of a step, or in the validation after it."""

    def __init__(self, step, action, *, validating=False):
        self.step, self.action, self.validating = step, action, validating

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step and not self.validating:
            self.action()

    def on_validation_batch_start(self, trainer, *_):
        if trainer.global_step == self.step and self.validating:
            self.action()


def fail():
    raise OSError("the image is truncated")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data"), count=4)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """A run of two epochs of two steps that nothing disturbs."""
    return fit(root, tmp_path_factory.mktemp("whole"))[0]


def last(folder):
    return LastCheckpoint(str(folder), every_n_minutes=None)


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (At(1, lambda: os.kill(os.getpid(), signal.SIGTERM)), Stopped),
        (At(3, lambda: os.kill(os.getpid(), signal.SIGINT)), Stopped),
        (At(3, fail), OSError),
        (At(2, fail, validating=True), OSError),
    ],
    ids=["SIGTERM", "Ctrl-C", "an error in a step", "an error in the first validation"],
)
def test_whatever_ends_a_run_it_is_resumed_as_if_nothing_had_been(
    whole, root, tmp_path, fault, ending
):
    with pytest.raises(ending) as ended:
        fit(root, tmp_path, fault, last(tmp_path))
    if ending is OSError:
        assert "resume it with --ckpt_path=" in ended.value.__notes__[-1]

    resumed, _ = fit(root, tmp_path, ckpt_path=tmp_path / "last.ckpt")

    assert_equal(whole, resumed)


def test_a_signal_says_where_to_resume_and_is_the_exit_status(root, tmp_path, caplog):
    with pytest.raises(SystemExit) as ended:
        fit(root, tmp_path, At(0, lambda: os.kill(os.getpid(), signal.SIGTERM)), last(tmp_path))

    assert ended.value.code == 143
    assert f"after 1 steps; resume it with --ckpt_path={tmp_path}/last.ckpt" in caplog.text


def test_a_run_resumed_from_before_a_validation_validates(root, tmp_path):
    with pytest.raises(OSError, match="truncated"):
        fit(root, tmp_path, At(2, fail, validating=True), last(tmp_path))
    validated = []

    fit(
        *(root, tmp_path, At(2, lambda: validated.append(1), validating=True)),
        ckpt_path=tmp_path / "last.ckpt",
    )

    assert validated


@pytest.mark.parametrize(("every", "steps"), [(None, [2, 2, 2]), (1, [1, 2, 2, 2])])
def test_a_checkpoint_is_written_every_so_many_steps(root, tmp_path, every, steps, monkeypatch):
    written = []
    callback = LastCheckpoint(str(tmp_path), every_n_steps=every, every_n_minutes=None)
    write = callback._write

    def note(trainer, moment):
        written.append(trainer.global_step)
        write(trainer, moment)

    monkeypatch.setattr(callback, "_write", note)
    fit(root, tmp_path, callback, max_epochs=1)

    assert written[: len(steps)] == steps[: len(written)]


def test_nothing_is_written_amid_an_optimizer_step(root, tmp_path, monkeypatch):
    callback = last(tmp_path)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure: (closure(), fail()))

    with pytest.raises(OSError, match="truncated"):
        fit(root, tmp_path, callback)

    assert not (tmp_path / "last.ckpt").exists()


def test_the_best_of_a_resumed_run_is_the_best_of_the_whole_run(root, tmp_path):
    def scores(values):
        class Score(Callback):
            def on_validation_epoch_end(self, trainer, pl_module):
                pl_module.log("scripted", values[trainer.current_epoch])

        return Score()

    def best(folder):
        return BestCheckpoint(str(tmp_path / folder), monitor="scripted")

    first, second = tmp_path / "first", tmp_path / "second"
    fit(root, tmp_path, scores([0.5]), best("first"), last(first), max_epochs=1)
    better = (first / "best.ckpt").read_bytes()

    fit(
        *(root, tmp_path, scores([0.5, 0.2]), best("second"), last(second)),
        ckpt_path=first / "last.ckpt",
    )

    assert (second / "best.ckpt").read_bytes() == better


def test_a_checkpoint_that_breaks_off_leaves_the_one_of_before(tmp_path, monkeypatch):
    SafeCheckpointIO().save_checkpoint(STATE, tmp_path / "last.ckpt")
    before = (tmp_path / "last.ckpt").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"No space left.*the file of before is kept"):
        SafeCheckpointIO().save_checkpoint(STATE, tmp_path / "last.ckpt")

    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_weights_that_are_not_finite_are_neither_written_nor_loaded(tmp_path):
    broken = {"state_dict": {"weight": torch.tensor([1.0, torch.nan]), "steps": torch.ones(1)}}
    path = tmp_path / "last.ckpt"

    with pytest.raises(ValueError, match=r"1 of 2 weights are not finite.*weight.*not written"):
        SafeCheckpointIO().save_checkpoint(broken, path)
    assert not path.exists()

    torch.save(broken, path)
    with pytest.raises(ValueError, match=r"1 of 2 weights are not finite.*not loaded"):
        SafeCheckpointIO().load_checkpoint(path, weights_only=True)


def test_a_resume_from_weights_that_lack_a_tensor_ends_in_one_line(
    root, tmp_path, monkeypatch, capsys
):
    checkpoint = {
        "state_dict": tiny_task().state_dict(),
        "pytorch-lightning_version": "2.6.0",
        "loops": {},
        **{"epoch": 0, "global_step": 0, "optimizer_states": [], "lr_schedulers": []},
    }
    del checkpoint["state_dict"]["model.head.token_bias"]
    torch.save(checkpoint, tmp_path / "lacking.ckpt")
    monkeypatch.setattr(
        "glip_pl.commands.fit.run",
        lambda _: fit(root, tmp_path, ckpt_path=tmp_path / "lacking.ckpt"),
    )

    with pytest.raises(SystemExit) as ended:
        main(["fit"])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "the checkpoint is of another model" in said
    assert "model.head.token_bias" in said


def test_loggers_are_given_no_module_of_a_task_that_python_built():
    assert dict(tiny_task().hparams_initial) == {}
