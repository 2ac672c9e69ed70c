"""Options that have moved: what was typed, written and saved before goes on working."""

import pytest
from command_line import parse
from helpers import ROOT

from glip_pl.configs.class_paths import with_current_paths
from glip_pl.configs.moved import current_options

SHAPES = ROOT / "data/shapes.yaml"
FPN = "glip_pl.backbones.FPN"
INCLUSIVE = "glip_pl.training.criterion.InclusiveCriterion"


def checkpoint(**options):
    return {"backbone": {}, "text": {}, "fusion": {}, **options}


@pytest.mark.parametrize(
    ("before", "today"),
    [
        (["--model.num_layers=1"], ["--fusion_defaults.num_layers=1"]),
        (["--model.extra_levels", "1"], ["--model.neck.init_args.extra_levels", "1"]),
        (["--model.initial_box_scale=1"], ["--model.head.initial_box_scale=1"]),
        (["--model.inclusive_losses", "true"], [f"--model.criterion={INCLUSIVE}"]),
        (["--model.tune=lora"], ["--model.tuning.mode=lora"]),
        (["--model.lora.rank=4"], ["--model.tuning.lora.rank=4"]),
        (["--model.freeze=[text]"], ["--model.tuning.freeze=[text]"]),
        (["--data.train_weights+=2"], ["--data.sampling.weights+=2"]),
        (["--data.replay.share=0.5"], ["--data.sampling.replay.share=0.5"]),
        (["--data.stream", "true"], ["--data.sampling.stream", "true"]),
        (["--model.d_model=8", "--data=x"], ["--model.d_model=8", "--data=x"]),
    ],
)
def test_an_option_of_before_is_the_parts_today(before, today):
    assert current_options(before) == today


def test_a_file_of_before_is_read_as_it_was_meant():
    before = {
        "model": {"d_model": 8, "num_layers": 2, "tune": "lora", "lora": {"rank": 4}},
        "data": {"root": "x", "train_weights": [1], "sampling": {"group_by_aspect": True}},
    }

    assert with_current_paths(before) == {
        "model": {"d_model": 8, "tuning": {"mode": "lora", "lora": {"rank": 4}}},
        "fusion_defaults": {"num_layers": 2},
        "data": {"root": "x", "sampling": {"group_by_aspect": True, "weights": [1]}},
    }


def test_a_checkpoint_of_before_loses_what_its_plugin_has_itself():
    assert with_current_paths(checkpoint(num_layers=2, d_model=8)) == checkpoint(d_model=8)


def test_a_checkpoint_of_before_has_a_pyramid_and_a_head_of_its_own():
    before = checkpoint(
        *(), neck=None, extra_levels=1, drop_block=0.3, initial_temperature=1.0, freeze=None
    )

    assert with_current_paths(before) == checkpoint(
        neck={"class_path": FPN, "init_args": {"extra_levels": 1, "drop_block": 0.3}},
        head={"initial_temperature": 1.0},
    )


def test_a_neck_of_ones_own_takes_nothing_of_the_pyramids():
    neck = {"class_path": "glip_pl.backbones.ChannelMapper", "init_args": {"extra_levels": 2}}

    assert with_current_paths(checkpoint(neck=neck, extra_levels=0, drop_block=0.0)) == checkpoint(
        neck=neck
    )


def test_a_file_that_changes_one_thing_of_the_pyramid_keeps_the_others(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: {drop_block: 0.3, inclusive_losses: true}\ndata: {group_by_aspect: true}\n"
    )
    (tmp_path / "next.yaml").write_text("data: {sampling: {scale_by_batch: true}}\n")

    parsed = parse(SHAPES, tmp_path / "mine.yaml", tmp_path / "next.yaml")
    model, sampling = parsed.model, parsed.data.sampling

    assert sampling.group_by_aspect
    assert sampling.scale_by_batch

    assert model.neck.class_path == FPN
    assert model.neck.init_args.drop_block == 0.3
    assert model.neck.init_args.extra_levels == 0
    assert model.criterion.class_path == INCLUSIVE


def test_what_is_typed_today_is_what_was_typed_before():
    before = parse(
        *(SHAPES, "--model.tune=lora", "--model.lora.rank=4", "--model.extra_levels=1"),
        *("--data.replay.data=old.yaml", "--data.replay.share=0.25", "--data.scale_by_batch"),
    )
    today = parse(
        SHAPES,
        "--model.tuning.mode=lora",
        "--model.tuning.lora.rank=4",
        "--model.neck.init_args.extra_levels=1",
        "--data.sampling.replay.data=old.yaml",
        "--data.sampling.replay.share=0.25",
        "--data.sampling.scale_by_batch",
    )

    assert before.model == today.model
    assert before.data == today.data
    assert today.data.sampling.replay.share == 0.25
