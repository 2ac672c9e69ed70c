from types import SimpleNamespace

import pytest
import torch

from glip_pl.training.callbacks import LogPictures, ScheduleWeightDecay, last_of_each
from glip_pl.training.checkpoints import LastCheckpoint
from glip_pl.training.optim import Steps


def decay_at(step: int, optimizer: torch.optim.Optimizer) -> list[float]:
    """Start step `step` of ten; give the weight decay of each group."""
    trainer = SimpleNamespace(
        global_step=step, estimated_stepping_batches=10, optimizers=[optimizer]
    )
    callback = ScheduleWeightDecay(Steps([0.3, 0.6], gamma=0.1))
    callback.on_train_batch_start(trainer, None, None, 0)
    return [group["weight_decay"] for group in optimizer.param_groups]


def adam() -> torch.optim.Optimizer:
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "weight_decay": decay}
        for decay in (0.5, 0.0)
    ]
    return torch.optim.AdamW(groups)


def test_the_weight_decay_of_each_group_falls_at_the_milestones():
    optimizer = adam()

    decays = [decay_at(step, optimizer)[0] for step in (0, 2, 3, 5, 6, 9)]

    assert decays == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005, 0.005])
    assert optimizer.param_groups[1]["weight_decay"] == 0


def test_a_resumed_run_does_not_lower_the_weight_decay_again():
    stopped, resumed = adam(), adam()
    decay_at(4, stopped)

    resumed.load_state_dict(stopped.state_dict())

    assert decay_at(4, resumed) == pytest.approx([0.05, 0])


def test_a_callback_that_is_named_again_takes_the_place_of_the_first():
    pictures, more_pictures = LogPictures(), LogPictures(num_images=8)
    seldom, often = LastCheckpoint(), LastCheckpoint(every_n_steps=5)

    kept = last_of_each([pictures, seldom, more_pictures, often])

    assert kept == [pictures, more_pictures, often]
