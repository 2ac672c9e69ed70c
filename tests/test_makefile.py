"""The Makefile: complete, true, and passing values on as they were typed."""

import json
import os
import re
import shutil
import subprocess

import pytest
from helpers import ROOT

from glip_pl.cli import COMMANDS
from glip_pl.configs.names import known

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
INTERNAL = {"check-names"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def make(tmp_path):
    """Run make where `glip` prints its arguments, one in each line, in the place of running."""
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    for name in ("glip", "python"):
        (programs / name).write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        (programs / name).chmod(0o755)

    def run(*arguments, ready=True):
        for name in (".ready", ".ready-small") if ready else ():
            (tmp_path / "venv" / name).touch()
        done = subprocess.run(
            ["make", "--silent", f"VENV={tmp_path}/venv", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "MAKEFLAGS"},
        )
        return done.returncode, done.stdout.splitlines()

    return run


def test_help_lists_every_target_and_fits_the_screen(make):
    status, lines = make("help")

    listed = [line.split()[1] for line in lines if line.startswith("  make ")]
    assert status == 0
    assert set(listed) == set(TARGETS) - INTERNAL
    assert max(map(len, lines)) <= 80


def test_every_target_is_phony():
    phony = MAKEFILE.partition(".PHONY:")[2].replace("\\\n", " ").partition("\n")[0].split()

    assert set(phony) == set(TARGETS)


@pytest.mark.parametrize("kind", ["model", "data", "fusion", "recipe"])
def test_help_lists_every_name(kind, make):
    _, lines = make("help")

    assert set(known(kind)) <= set(re.findall(r"[\w-]+", " ".join(lines)))


def test_a_target_that_runs_a_command_has_its_name():
    called = dict(
        re.findall(r"^([a-z-]+):[^\n]*\n(?:\t[^\n]*\n)*?\t\$\(GLIP\) (\w+)", MAKEFILE, re.M)
    )

    assert set(called.values()) <= set(COMMANDS)
    renamed = {target: name for target, name in called.items() if target != name}
    assert renamed == {"train": "fit", "evaluate": "test"}


ODD = """men's shoes. a $100 bill "x" $(HOME) `id`; \\ #1"""
SETTINGS = set(re.findall(r"^([A-Z_]+) +\?=", MAKEFILE, re.MULTILINE))
# Programs, the folder of all that is installed, and words of the shell.
NOT_VALUES = {"PYTHON", "VENV", "ARGS", "WHEELS"}
FORGETTING = "--trainer.callbacks.sets="
# What each target makes of its settings.
PASSED = {
    "train": {
        **{"MODEL": "--model=", "DATA": "--data=", "FUSION": "--fusion=", "RECIPE": "--recipe="},
        **{"DATA_ROOT": "--data.root=", "CKPT": "--ckpt_path=", "WEIGHTS": "--weights="},
        **{"RETAIN": FORGETTING, "REPLAY": "--data.sampling.replay.data="},
    },
    "evaluate": {
        **{"DATA": "--data=", "DATA_ROOT": "--data.root="},
        **{"CKPT": "--ckpt_path=", "WEIGHTS": "--weights="},
    },
    "predict": {
        **{"CKPT": "--ckpt_path=", "WEIGHTS": "--weights=", "IMAGE": "--image="},
        **{"PROMPT": "--prompt=", "OUTPUT": "--output="},
    },
    "data": {"DATA": "", "DATA_ROOT": "--root="},
    "demo": {
        **{"MODEL": "--model=", "DATA": "--data=", "DATA_ROOT": "--data.root="},
        "IMAGE": "--examples=",
    },
    "compare": {"RUNS": ""},
    "benchmark": {"CKPT": "--ckpt_path=", "WEIGHTS": "--weights="},
    "gpu": {"DEVICE": "--device=", "OUTPUT": "--output="},
    "parity": {"GOLDEN": ""},
}


def test_the_list_of_what_is_passed_has_every_setting_and_every_target_that_takes_one():
    takes = {
        target
        for target, recipe in re.findall(r"^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, re.M)
        if target not in INTERNAL | {"help"}
        and re.search(r"\$\((TRAINED|ROOT|KEPT)\)|value [A-Z]|\$\(call \w+,(\w+,)?[A-Z]", recipe)
    }

    assert set().union(*PASSED.values()) == SETTINGS - NOT_VALUES
    assert set(PASSED) == takes


@pytest.mark.parametrize("target", PASSED)
def test_every_value_reaches_the_command_as_it_was_typed(target, make):
    typed = {name: f"{ODD} {name}" for name in SETTINGS - NOT_VALUES - {"RUNS"}}
    if target == "compare":
        typed["RUNS"] = f"{ODD} a,{ODD} RUNS"

    status, lines = make(target, *(f"{name}={value}" for name, value in typed.items()))

    assert status == 0
    for name, option in PASSED[target].items():
        value = json.dumps([typed[name]]) if option == FORGETTING else typed[name]
        assert option + value.split(",")[-1] in lines
    if target == "compare":
        assert f"{ODD} a" in lines


def test_no_command_of_make_in_a_value_is_run(make, tmp_path):
    typed = {name: f"$(shell touch {tmp_path}/{name})" for name in SETTINGS - NOT_VALUES}

    make("train", *(f"{name}={value}" for name, value in typed.items()))

    assert [path.name for path in tmp_path.iterdir()] == ["venv"]


def test_the_model_of_a_benchmark_is_passed_where_no_weights_are(make):
    assert f"--model={ODD}" in make("benchmark", f"MODEL={ODD}")[1]


def test_runs_are_parted_by_blanks_where_there_is_no_comma(make):
    assert make("compare", "RUNS=first's  $2")[1] == ["compare", "first's", "$2"]


def test_several_sets_are_retained(make):
    assert (
        f'{FORGETTING}["bccd","my \\"own\\".yaml"]' in make("train", 'RETAIN=bccd,my "own".yaml')[1]
    )


def test_further_options_are_words_of_the_shell(make):
    _, lines = make("train", "ARGS=--trainer.max_epochs=3 --data.root='my data'")

    assert lines[-2:] == ["--trainer.max_epochs=3", "--data.root=my data"]


def test_training_passes_names_and_leaves_the_rest_to_the_command(make):
    _, lines = make("train", "FUSION=mine", "MODEL=small", "RECIPE=pretrain ddp")

    assert lines == [
        *("fit", "--model=small", "--data=shapes", "--fusion=mine"),
        "--recipe=pretrain ddp",
    ]


@pytest.mark.parametrize("wrong", ["MODEL=smal", "FUSION=dep", "DATA=shape's"])
def test_before_anything_is_installed_a_wrong_name_is_refused(wrong, make):
    status, lines = make("train", wrong, ready=False)

    assert status == 2
    assert lines[0].startswith(f"{wrong} is not known; choose one of: ")
