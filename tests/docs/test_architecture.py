import re
from collections import Counter

from helpers import ROOT

from glip_pl.cli import COMMANDS

PAGE = (ROOT / "docs/architecture.md").read_text()


def drawn() -> list[str]:
    """Paths below src/glip_pl that the tree of the page shows."""
    tree = PAGE.split("```text\n")[1].split("```")[0].splitlines()
    paths, above = list[str](), [""]
    for line in tree[1:]:
        if not line.startswith(" "):
            break
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"  +", line.strip())[0]
        for name in re.split(r", | ", names):
            paths.append("".join([*above[1:depth], name]))
        above = [*above[:depth], name]
    return paths


def test_every_file_has_a_place_in_the_tree_that_is_drawn():
    package = ROOT / "src/glip_pl"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    rooms = drawn()

    homeless = [
        file
        for file in files
        if file not in rooms and f"{file.rpartition('/')[0]}/" not in rooms
        if file != "__init__.py"
    ]

    assert homeless == []


def test_everything_that_is_drawn_is_there():
    package = ROOT / "src/glip_pl"

    assert [path for path in drawn() if not (package / path).exists()] == []


def test_nothing_is_drawn_twice():
    assert [path for path, count in Counter(drawn()).items() if count > 1] == []


def test_the_reference_shows_the_help_of_every_command_of_its_own():
    shown = re.findall(r"^## glip (\w+)$", (ROOT / "docs/reference/cli.md").read_text(), re.M)

    # Those of Lightning's trainer print hundreds of options.
    assert shown == [name for name in COMMANDS if name not in ("fit", "validate", "test")]
