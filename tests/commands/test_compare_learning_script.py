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

    def leave_behind(command):
        commands.append(command)
        if "fit" in command:
            touch(tmp_path / "bccd/late-seed1-fit/version_0/checkpoints/last.ckpt")
        else:
            touch(tmp_path / "bccd/late-seed1-test/version_0/results.json")

    monkeypatch.setattr(compare_learning, "_call", leave_behind)
    monkeypatch.setattr(OPTIONS, "output", tmp_path)
    return commands


def touch(file):
    file.parent.mkdir(parents=True)
    file.touch()


def test_a_fusion_is_trained_for_its_seconds_and_its_last_state_tested(called, tmp_path):
    compare_learning.run(OPTIONS, "bccd", "late", 1)
    fit, test = called

    assert "fit" in fit
    assert {"--fusion=late", "--data=bccd", "--seed_everything=1"} <= set(fit)
    assert {"--trainer.callbacks.seconds=60.0", "--model.told=phrases"} <= set(fit)
    assert any(option.endswith("checkpoints/last.ckpt") for option in test)
    assert (tmp_path / "bccd/late-seed1/results.json").is_file()


def test_what_a_killed_command_had_begun_is_not_tested(called, tmp_path):
    touch(tmp_path / "bccd/late-seed1-fit/version_7/checkpoints/last.ckpt")

    compare_learning.run(OPTIONS, "bccd", "late", 1)

    assert not any("version_7" in option for command in called for option in command)


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
