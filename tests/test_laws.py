"""Laws that the direction of imports cannot hold."""

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points

import pytest
from helpers import ROOT

# Arguments that plugins had once, for the checkpoints of that time.
HISTORY = ROOT / "src/glip_pl/configs/class_paths.py"


def test_no_code_of_the_application_names_a_plugin():
    plugins = {entry.value.rpartition(":")[2] for entry in entry_points(group="glip_pl.fusion")}
    sources = [path for path in (ROOT / "src").rglob("*.py") if path != HISTORY]

    assert {"LateFusion", "DeepFusion"} <= plugins
    assert [
        (path.name, name) for path in sources for name in plugins if name in path.read_text()
    ] == []


def imports_of(path, modules):
    """The modules of this package that a file imports, inside functions, too, but for types."""
    tree = ast.parse(path.read_text())
    of_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in of_types:
            for name in node.names:
                module = f"{node.module}.{name.name}"
                yield module if module in modules else node.module


def test_no_module_imports_itself_by_way_of_others():
    source = ROOT / "src"
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }

    graph = {
        module: {found for found in imports_of(path, modules) if found in modules}
        for module, path in modules.items()
    }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
