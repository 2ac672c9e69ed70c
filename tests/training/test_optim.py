import math
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from helpers import REFERENCE
from pytorch_lightning.callbacks import Timer
from torch import nn

from fusion_plugins.late import LateFusion
from glip_pl.backbones import SwinBackbone
from glip_pl.backbones.fpn import FPN
from glip_pl.commands.grounding_cli import GroundingCLI
from glip_pl.head import GroundingHead
from glip_pl.training.budget import CoreSeconds, core_seconds, time_spent
from glip_pl.training.optim import Cosine, OptimizerSettings, Steps, configured


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


def test_biases_of_official_glip_learn_twice_as_fast_and_all_else_decays():
    model = nn.ModuleDict(
        {
            "backbone": nn.ParameterDict({"relative_position_bias_table": torch.zeros(9, 3)}),
            "fpn": nn.LayerNorm(2),
            "head": nn.ParameterDict(
                {"token_bias": torch.zeros(2), "log_temperature": torch.ones(1)}
            ),
        }
    )
    settings = OptimizerSettings(
        lr=3.0, backbone_lr=2.0, weight_decay=0.5, bias_lr_factor=2.0, decayed="all_but_biases"
    )

    groups = {
        g["name"]: (g["lr"], g["weight_decay"], [p.numel() for p in g["params"]])
        for g in settings.groups(model)
    }

    assert groups == {
        "backbone/bias/no_decay": (4.0, 0.0, [27]),
        "head": (3.0, 0.5, [2, 1]),  # The norm's weight and the temperature.
        "head/bias/no_decay": (6.0, 0.0, [2, 2]),
    }


def test_a_rate_for_biases_leaves_the_choice_of_decay_alone():
    settings = OptimizerSettings(lr=3.0, weight_decay=0.5, bias_lr_factor=2.0)

    groups = {
        g["name"]: (g["lr"], g["weight_decay"])
        for g in settings.groups(nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.LayerNorm(2)}))
    }

    assert groups == {
        "head": (3.0, 0.5),
        "head/no_decay": (3.0, 0.0),
        "head/bias/no_decay": (6.0, 0.0),
    }


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"{REFERENCE} is absent")
def test_the_parameters_named_bias_are_those_of_official_glip():
    backbone = SwinBackbone()
    model = nn.ModuleDict(
        {
            "backbone": backbone,
            "fpn": FPN(backbone.channels, 256, extra_levels=2),
            "fusion": LateFusion(d_model=256, d_text=768),
            "head": GroundingHead(256, 768, num_levels=5),
        }
    )
    rows = (REFERENCE / "glip_t_a_state_dict.tsv").read_text().splitlines()
    official = 0
    for key, shape, _ in (row.split("\t") for row in rows):
        # The text encoder is not ours, and the class logits are used for nothing.
        if "bias" in key and not re.match(r"language_backbone|rpn\.head\.cls_logits", key):
            official += math.prod(int(side) for side in shape.split("x"))

    assert sum(p.numel() for n, p in model.named_parameters() if "bias" in n) == official


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", None)])
def test_steps_are_fused_where_lightning_can_clip_their_gradients(
    shapes_arguments, precision, fused
):
    options = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=0"]

    cli = GroundingCLI(["fit", *shapes_arguments, *options, f"--trainer.precision={precision}"])

    assert cli.trainer.gradient_clip_val == 1
    assert [g["fused"] for g in cli.trainer.optimizers[0].param_groups] == [fused] * 6


class Stopwatch(Timer):
    elapsed = 0.0

    def time_elapsed(self, stage=None):
        return self.elapsed


def limited_to(timer):
    return SimpleNamespace(
        callbacks=[timer],
        strategy=SimpleNamespace(broadcast=lambda spent: spent),
        estimated_stepping_batches=float("inf"),
        precision_plugin=None,
    )


def test_the_schedule_ends_with_the_time_of_a_run_that_has_no_other_limit():
    timer = Stopwatch(timedelta(minutes=10))
    weight = nn.Parameter(torch.zeros(2, 2))
    settings = OptimizerSettings(lr=1.0, warmup_steps=0)
    found = configured([{"params": [weight]}], settings, Cosine(final=0.0), limited_to(timer))
    rates = []
    for timer.elapsed in (300, 600):
        found["optimizer"].step()
        found["lr_scheduler"]["scheduler"].step()
        rates += found["lr_scheduler"]["scheduler"].get_last_lr()

    assert rates == pytest.approx([0.5, 0.0])


def test_core_seconds_count_the_work_and_not_the_wait():
    timer = CoreSeconds(10.0, since=core_seconds() - 4.0)
    trainer = limited_to(timer)

    assert time_spent(trainer) == pytest.approx(0.4, abs=0.1)
    assert time_spent(limited_to(Timer())) == 0.0
