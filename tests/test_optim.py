import pytest
from torch import nn

from glip_pl.optim import Cosine, OptimizerSettings, Steps


def test_cosine_falls_from_one_to_the_final_factor():
    schedule = Cosine(final=0.1)

    assert [schedule(p) for p in (0, 0.5, 1, 2)] == pytest.approx([1, 0.55, 0.1, 0.1])


def test_steps_fall_at_their_milestones():
    schedule = Steps([0.67, 0.89], gamma=0.1)

    assert [schedule(p) for p in (0.66, 0.67, 0.9)] == pytest.approx([1, 0.1, 0.01])


def test_the_warm_up_is_linear():
    settings = OptimizerSettings(warmup_steps=10)

    assert [settings.warmup(s) for s in (0, 5, 10, 99)] == pytest.approx([0.001, 0.5005, 1, 1])


def test_each_part_has_its_rate_and_vectors_do_not_decay():
    model = nn.ModuleDict(
        {"backbone": nn.Linear(2, 2), "text": nn.Linear(2, 2), "head": nn.Linear(2, 2)}
    )
    model["text"].bias.requires_grad_(False)
    settings = OptimizerSettings(lr=3.0, backbone_lr=2.0, text_lr=1.0, weight_decay=0.5)

    groups = {g["name"]: (g["lr"], g["weight_decay"]) for g in settings.groups(model)}

    assert groups == {
        "backbone": (2.0, 0.5),
        "backbone/no_decay": (2.0, 0.0),
        "text": (1.0, 0.5),
        "head": (3.0, 0.5),
        "head/no_decay": (3.0, 0.0),
    }
