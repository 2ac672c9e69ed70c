"""Words of the field: what a docstring begins with, and what the code does not hold."""

import ast
import re
from itertools import chain

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


# What takes and returns tensors, for those who build with it.
NETWORK = ("layers", "backbones", "matching", "head.py", "model.py", "fusion.py", "boxes.py")
SHAPE = re.compile(r"\[[^\]\n]*\w[^\]\n]*\]|any shape|\bscalar\b|^See `")


def public_functions(path):
    """Functions, and methods of classes, whose names do not begin with an underscore."""
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bodies = [tree.body, *(c.body for c in classes if not c.name.startswith("_"))]
    functions = (node for node in chain(*bodies) if isinstance(node, ast.FunctionDef))
    return [node for node in functions if not node.name.startswith("_")]


def has_tensors(function):
    listed = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    hints = [argument.annotation for argument in listed] + [function.returns]
    return any(re.search(r"\bTensor\b", ast.unparse(hint)) for hint in hints if hint is not None)


def test_what_takes_or_returns_tensors_states_their_shapes():
    """An override may refer to what it overrides."""
    package = ROOT / "src/glip_pl"
    places = [package / name for name in (*NETWORK, "structures.py", "training/losses.py")]
    places.append(ROOT / "fusion_plugins")
    paths = [p for place in places for p in (sorted(place.rglob("*.py")) or [place])]
    found = [(path, node) for path in paths for node in public_functions(path) if has_tensors(node)]

    assert len(found) > 100
    assert [
        f"{path.relative_to(ROOT)} {node.name}"
        for path, node in found
        if not SHAPE.search(ast.get_docstring(node) or "")
    ] == []
