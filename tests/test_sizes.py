"""Files and functions that a reader can hold in mind; what is longer says why."""

import ast

import pytest
from helpers import ROOT

LINES, FUNCTION = 250, 60
FOLDERS = ("src", "fusion_plugins", "scripts")

# Longer than that, and why.
FILES = {
    "fusion_plugins/dino.py": "one plugin is one file; what others can use lies in layers/",
    "scripts/faults/inputs.py": "a list of small faults, one a function",
    "scripts/faults/runs.py": "a list of small faults, one a function",
}
OPTIONS = "each parameter is an option, with its help in the docstring"
FUNCTIONS = {
    "commands/benchmark.py benchmark": OPTIONS,
    "commands/export.py export": OPTIONS,
    "commands/label.py label": OPTIONS,
    "commands/predict.py predict": OPTIONS,
    "inference/predictor.py predict": OPTIONS,
    "fusion_plugins/dino.py __init__": "one part of the published model a line",
}


def sources():
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def named(path):
    return path.relative_to(ROOT).as_posix()


def long_files():
    return {named(path) for path in sources() if len(path.read_text().splitlines()) > LINES}


def long_functions():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        f"{named(path).removeprefix('src/glip_pl/')} {node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds) and node.end_lineno - node.lineno >= FUNCTION
    }


KINDS = pytest.mark.parametrize(
    ("long", "reasons"),
    [(long_files, FILES), (long_functions, FUNCTIONS)],
    ids=["file", "function"],
)


@KINDS
def test_whatever_is_long_has_a_reason(long, reasons):
    assert long() - set(reasons) == set()


@KINDS
def test_a_reason_stands_for_something_that_is_long(long, reasons):
    assert set(reasons) - long() == set()
