"""Words of the field: what a docstring begins with, and what the code does not hold."""

import ast
import re

import pytest
from helpers import ROOT

FOLDERS = ("src", "fusion_plugins", "scripts")
# A reader looks for "Return", "Compute", "Log", "Read".
VAGUE = ("Give ", "Give,", "Tell ", "Say ")


def sources():
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def documented():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)} {node.name}", text


def test_a_docstring_begins_with_a_verb_of_the_field():
    assert [name for name, text in documented() if text.startswith(VAGUE)] == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_nothing_is_left_to_be_done_in_the_code(word):
    assert [path.name for path in sources() if word in path.read_text()] == []


def test_what_people_read_is_written_in_one_place():
    """`print` would not wrap, and a library has no business with the output."""
    own = [path for path in sources() if "scripts" not in path.parts]

    assert [path.name for path in own if re.search(r"(?<![.\w])print\(", path.read_text())] == []
