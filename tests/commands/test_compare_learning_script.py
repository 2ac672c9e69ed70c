from argparse import Namespace
from pathlib import Path

import compare_learning
import pytest
from rich.console import Console

OPTIONS = Namespace(
    seconds=60.0, seeds=[0, 1], precision="32-true", more=["--model.told=phrases"], output=Path("o")
)


@pytest.fixture
def called(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(compare_learning, "_call", commands.append)
    monkeypatch.setattr(OPTIONS, "output", tmp_path)
    # What training and test would leave behind.
    checkpoint = tmp_path / "bccd/late-seed1-fit/version_0/checkpoints/last.ckpt"
    results = tmp_path / "bccd/late-seed1-test/version_0/results.json"
    for file in (checkpoint, results):
        file.parent.mkdir(parents=True)
        file.touch()
    return commands


def test_a_fusion_is_trained_for_its_seconds_and_its_last_state_tested(called, tmp_path):
    compare_learning.run(OPTIONS, "bccd", "late", 1)
    fit, test = called

    assert "fit" in fit
    assert {"--fusion=late", "--data=bccd", "--seed_everything=1"} <= set(fit)
    assert {"--trainer.callbacks.seconds=60.0", "--model.told=phrases"} <= set(fit)
    assert any(option.endswith("checkpoints/last.ckpt") for option in test)
    assert (tmp_path / "bccd/late-seed1/results.json").is_file()


def test_the_peer_gets_the_same_set_seconds_and_seed(called):
    compare_learning.run(OPTIONS, "bccd", "fcos", 1)
    (command,) = called

    assert command[1].endswith("fcos.py")
    assert {"--data=bccd", "--seconds=60.0", "--seed=1"} <= set(command)


def test_the_table_averages_seeds_and_shows_the_interval_of_each():
    rows = [
        {"set": "bccd", "detector": "fcos", "AP": [0.2, 0.4], "AP50": [0.5, 0.5]},
        {
            **{"set": "bccd", "detector": "late", "AP": [0.5, 0.6], "AP50": [0.8, 0.9]},
            "ahead of the peer": [[0.3, 0.2, 0.4], [0.2, -0.1, 0.5]],
        },
    ]
    console = Console(width=100)
    with console.capture() as shown:
        console.print(compare_learning.table(OPTIONS, rows))

    assert "0.300" in shown.get()
    assert "0.550" in shown.get()
    assert "+0.300 (+0.200 to +0.400)" in shown.get()
    assert "+0.200 (-0.100 to +0.500)" in shown.get()
