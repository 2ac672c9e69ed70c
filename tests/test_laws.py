"""Laws that the direction of imports cannot hold."""

from importlib.metadata import entry_points

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
