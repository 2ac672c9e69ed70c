import pytest
import torch
from pytorch_lightning import Callback
from tiny_run import fit, state_of, tiny_task, write_set

from glip_pl.training.checkpoints import LastCheckpoint
from glip_pl.training.numbers import SkipNonFinite, read_batch


class Spoil(Callback):
    """Makes the gradient of some steps, or their loss, not a number."""

    def __init__(self, *steps):
        self.steps, self.states = steps, []

    def on_train_batch_start(self, trainer, *_):
        self.states.append({k: v.clone() for k, v in state_of(trainer).items()})

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step in self.steps:
            pl_module.model.head.token_bias.grad[0] = torch.nan


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data"), count=6)


def test_a_step_that_is_not_finite_changes_neither_weights_nor_moments(root, tmp_path, caplog):
    spoil, skip = Spoil(1), SkipNonFinite()

    fit(root, tmp_path, spoil, skip, max_epochs=1)

    one, two, three = spoil.states
    assert len(two) > len(one)  # The first step was taken: there are moments.
    assert all(torch.equal(value, three[name]) for name, value in two.items())
    assert skip.state_dict() == {"skipped": 1}
    assert "step 1 has a loss or gradient that is not finite" in caplog.text


def test_the_batch_of_a_skipped_step_can_be_replayed(root, tmp_path):
    _, witness = fit(root, tmp_path, Spoil(1), SkipNonFinite(), max_epochs=1)

    batch = read_batch(tmp_path / "skipped/step1-process0.pt")

    assert float(batch.images.double().sum()) == witness.seen[1][2]
    output = tiny_task().model(batch.images, batch.mask, batch.tokens)
    assert output.boxes.isfinite().all()


def test_a_few_in_a_row_end_the_run_with_finite_weights_saved(root, tmp_path):
    last = LastCheckpoint(str(tmp_path), every_n_minutes=None)

    with pytest.raises(ValueError, match=r"2 steps in a row.*--model\.optimizer\.lr"):
        fit(root, tmp_path, Spoil(1, 2), SkipNonFinite(max_in_row=2), last)

    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert all(v.isfinite().all() for v in saved["state_dict"].values() if v.is_floating_point())


def test_skips_with_a_good_step_between_go_on(root, tmp_path):
    skip = SkipNonFinite(max_in_row=2)

    fit(root, tmp_path, Spoil(0, 2), skip, max_epochs=1)

    assert skip.skipped == 2
