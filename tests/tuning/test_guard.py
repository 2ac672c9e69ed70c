"""The forgetting guard: old sets beside the target, and what is kept of them."""

import json

import pytest

from glip_pl.cli import main
from glip_pl.tuning.guard import ForgettingGuard


def guard_with(*scores):
    guard = ForgettingGuard([])
    guard._kept = ["kept_old"]
    guard._history = [{"when": str(n), "scores": of} for n, of in enumerate(scores)]
    return guard


BEFORE = {"val/new/map": 0.1, "val/kept_old/map": 0.5, "val/kept_old/class/cat": 0.6}
AFTER = {"val/new/map": 0.4, "val/kept_old/map": 0.4, "val/kept_old/class/cat": 0.3}


def test_the_share_kept_is_that_of_the_first_score():
    kept = guard_with(BEFORE, AFTER).report()["kept"]

    assert kept == {"val/kept_old/map": pytest.approx(0.8), "val/kept_old/class/cat": 0.5}


def test_the_report_says_what_was_learned_and_what_was_lost():
    assert guard_with(BEFORE, AFTER).lines() == [
        "new/map: 0.100 -> 0.400",
        "kept_old/map: 0.500 -> 0.400 (80 % kept); 'cat' lost most, 50 % kept",
    ]


@pytest.mark.slow
def test_a_run_scores_and_replays_what_its_weights_knew(shapes_arguments, shapes_root, tmp_path):
    described = tmp_path / "old.yaml"
    described.write_text(
        f"data:\n  root: {shapes_root}\n  train:\n"
        "    - class_path: glip_pl.data.CategoryDetection\n"
        "      init_args: {annotations: annotations/train.json}\n"
        "  val:\n    old:\n      class_path: glip_pl.data.CategoryDetection\n"
        "      init_args: {annotations: annotations/val.json}\n"
        "  test: {}\n"
    )

    main(
        [
            *("fit", *shapes_arguments, "--trainer.num_sanity_val_steps=-1"),
            "--trainer.callbacks+=glip_pl.tuning.guard.ForgettingGuard",
            f"--trainer.callbacks.sets=[{described}]",
            *(f"--data.sampling.replay.data={described}", "--data.sampling.replay.share=0.5"),
        ]
    )

    report = json.loads((tmp_path / "runs/run/version_0/forgetting.json").read_text())
    assert [entry["when"] for entry in report["history"]] == ["before", "epoch 0"]
    assert "val/kept_old/map" in report["history"][1]["scores"]
