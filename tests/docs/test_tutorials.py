"""Every command and snippet of the tutorials is run, with less training than a reader would do."""

import re
import shlex
from pathlib import Path

import pytest
from helpers import ROOT, write_coco

from glip_pl.cli import main
from glip_pl.data.shapes import ShapesBuilder

TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.M | re.S)
# A reader trains for minutes; two small steps go the same way.
SHORT = {
    "fit": [
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=1",
        "--data.num_workers=0",
        "--data.batch_size=2",
    ],
    "test": ["--trainer.limit_test_batches=1", "--data.num_workers=0"],
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of every block of a page that can be run."""
    return [(found[1], found[2]) for found in BLOCK.finditer(page.read_text())]


def run(line: str) -> None:
    """Run a line of a shell; what installs something is left out."""
    program, *arguments = shlex.split(line, comments=True) or ["pip"]
    if program in ("pip", "make"):
        return
    assert program == "glip", f"{line!r} is no command of this project"
    main([*arguments, *SHORT.get(arguments[0], [])])


@pytest.fixture
def readers_folder(tmp_path, monkeypatch):
    """A folder with what a tutorial assumes that its reader has."""
    monkeypatch.chdir(tmp_path)
    ShapesBuilder(num_train=4, num_val=2, num_test=2).build(tmp_path / "data/raw/shapes")
    for split in ("train", "val", "test"):
        boxes = {f"{split}{k}.jpg": [(1, (5, 5, 20, 20))] for k in range(2)}
        write_coco(tmp_path / "my_data", boxes, names={1: "cup"}, file=f"{split}.json")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_word_for_word(page, readers_folder):
    names: dict[str, object] = {}

    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            for line in text.replace("\\\n", " ").splitlines():
                run(line)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_has_something_to_run(page):
    assert blocks(page)
