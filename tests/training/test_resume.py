"""A run that was stopped and resumed equals one that never stopped, bit for bit."""

import pytest
from pytorch_lightning import Callback
from tiny_run import assert_equal, fit, write_set


class SaveAlways(Callback):
    """Writes a checkpoint at every moment at which one may be written."""

    def __init__(self, folder):
        self.folder = folder

    def save(self, trainer, moment):
        trainer.save_checkpoint(self.folder / f"{moment}{trainer.global_step}.ckpt")

    def on_train_batch_end(self, trainer, *_):
        self.save(trainer, "step")

    def on_validation_end(self, trainer, *_):
        self.save(trainer, "validated")

    def on_train_epoch_end(self, trainer, *_):
        self.save(trainer, "epoch")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two epochs of two steps, its batches, its data and its checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    root = write_set(folder / "data", count=4)
    trainer, witness = fit(root, folder, SaveAlways(folder))
    return trainer, witness.seen, root, folder


@pytest.mark.parametrize(
    ("moment", "workers"),
    [("step1", 2), ("step2", 0), ("step3", 0), ("validated2", 0), ("epoch2", 0)],
)
def test_a_run_resumed_at_any_moment_equals_one_that_never_stopped(
    whole, tmp_path, moment, workers
):
    uninterrupted, seen, root, folder = whole

    resumed, witness = fit(
        root, tmp_path, ckpt_path=folder / f"{moment}.ckpt", data={"num_workers": workers}
    )

    assert witness.seen == seen[-len(witness.seen) :]
    assert_equal(uninterrupted, resumed)


def test_a_run_with_another_number_of_workers_is_the_same_run(whole, tmp_path):
    uninterrupted, seen, root, _ = whole

    other, witness = fit(root, tmp_path, data={"num_workers": 2})

    assert witness.seen == seen
    assert_equal(uninterrupted, other)


def test_no_two_epochs_draw_the_same(whole):
    _, seen, _, _ = whole

    pixels = [step[2] for step in seen]

    assert len(set(pixels)) == len(pixels) == 4


def test_a_resume_in_mid_epoch_with_another_order_is_refused(whole, tmp_path):
    _, _, root, folder = whole

    with pytest.raises(ValueError, match=r"data\.seed 0, and 3.*leave out --data\.seed"):
        fit(root, tmp_path, ckpt_path=folder / "step1.ckpt", data={"seed": 3})


@pytest.mark.parametrize(
    ("batch_size", "told"),
    [(2, ""), (4, "a step sees 4 images (1 process x 4, 1 summed up), after 2 until the resume")],
)
def test_a_step_of_other_size_than_before_is_told_with_what_stays(
    whole, tmp_path, batch_size, told, caplog
):
    _, _, root, folder = whole

    with caplog.at_level("INFO"):
        fit(root, tmp_path, ckpt_path=folder / "epoch2.ckpt", data={"batch_size": batch_size})

    lines = [" ".join(record.getMessage().split()) for record in caplog.records]
    said = [line for line in lines if "a step sees" in line]
    assert [line.partition(";")[0] for line in said] == ([told] if told else [])
    if told:
        assert "the learning rate is 0.0001, an epoch has 1 steps, and 2 of 2 are done" in said[0]
