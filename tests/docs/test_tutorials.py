"""Every command and snippet of the tutorials is run, with less training than a reader would do.

So are those of the how-to pages, but for what needs several GPUs, runs until it is stopped, or is
run by tests of its own.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers import ROOT, write_coco, write_image
from official import TINY, official_state, take_tiny_bert
from parity import dino_oracle

from glip_pl.cli import main
from glip_pl.configs import names
from glip_pl.data.shapes import ShapesBuilder

TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
HOWTO = sorted((ROOT / "docs/howto").glob("*.md"))
NOT_RUN = {"several_gpus", "many_nodes", "export_and_serve", "sahi"}
TO_READ = {"choose_a_checkpoint"}  # Without anything to run.
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.M | re.S)
SMALL = ["--data.eval_transform.short_sides=[64]", "--data.eval_transform.max_side=96"]
# A reader trains for minutes; a small step goes the same way. The set that is there stays.
SHORT = {
    "fit": [
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=1",
        "--trainer.precision=32",
        "--model.num_layers=1",
        "--data.train_transform.short_sides=[64]",
        "--data.num_workers=0",
        "--data.batch_size=2",
        "--data.builder=null",
        *SMALL,
    ],
    "test": ["--trainer.limit_test_batches=1", "--data.num_workers=0", "--data.builder=null"],
    "label": ["--keep=0", "--ignore=0"],  # A small teacher is sure of nothing.
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
    shorter = SHORT.get(arguments[0], [])
    given = {argument.partition("=")[0] for argument in arguments}
    main([*arguments, *(option for option in shorter if option.partition("=")[0] not in given)])


def follow(page: Path) -> None:
    """Do what a page says, block by block."""
    known: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), known)
        else:
            for line in text.replace("\\\n", " ").splitlines():
                run(line)


@pytest.fixture
def readers_folder(trained_run, shapes_root, tmp_path, monkeypatch):
    """A folder with what a page assumes that its reader has."""
    monkeypatch.chdir(tmp_path)
    ShapesBuilder(num_train=4, num_val=2, num_test=2).build(tmp_path / "data/raw/shapes")
    for split in ("train", "val", "test"):
        boxes = {f"{split}{k}.jpg": [(1, (5, 5, 20, 20))] for k in range(2)}
        write_coco(tmp_path / "my_data", boxes, names={1: "cup"}, file=f"{split}.json")
    write_image(tmp_path / "photo.jpg", 48, 64)
    write_image(tmp_path / "photos/a.jpg", 48, 64)
    (tmp_path / "captions.tsv").write_text("photos/a.jpg\ta cup on a plate\n")
    shutil.copy(trained_run / "checkpoints/last.ckpt", tmp_path / "best.ckpt")
    dino_oracle.save(dino_oracle.oracle("mm-grounding-dino"), tmp_path / "mm_dino")
    (tmp_path / "old").mkdir()
    shutil.copy(trained_run / "config.yaml", tmp_path / "old")
    return tmp_path


@pytest.fixture
def official_file(readers_folder, monkeypatch):
    """The released file of GLIP-T, and the model of that name, as small as can be."""
    take_tiny_bert(monkeypatch)
    torch.save(
        {"model": official_state(TINY)}, readers_folder / "glip_tiny_model_o365_goldg_cc_sbu.pth"
    )
    described = readers_folder / "glip_t.yaml"
    described.write_text(yaml.safe_dump({"model": json.loads(json.dumps(TINY.hyper_parameters()))}))
    known = names.known
    monkeypatch.setattr(
        names,
        "known",
        lambda kind: known(kind) | ({"glip_t": str(described)} if kind == "model" else {}),
    )
    monkeypatch.setitem(
        SHORT, "fit", [option for option in SHORT["fit"] if "num_layers" not in option]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("official_file")
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_word_for_word(page):
    follow(page)


@pytest.mark.slow
@pytest.mark.usefixtures("readers_folder")
@pytest.mark.parametrize(
    "page",
    [page for page in HOWTO if page.stem not in NOT_RUN | TO_READ],
    ids=lambda page: page.stem,
)
def test_a_how_to_page_runs_word_for_word(page):
    follow(page)


@pytest.mark.parametrize("page", [*TUTORIALS, *HOWTO], ids=lambda page: page.stem)
def test_a_page_has_something_to_run_unless_it_is_to_be_read(page):
    assert bool(blocks(page)) == (page.stem not in TO_READ)


@pytest.mark.parametrize("page", [*TUTORIALS, *HOWTO], ids=lambda page: page.stem)
def test_a_page_is_in_the_index(page):
    index = (ROOT / "docs/index.md").read_text()

    assert f"{page.parent.name}/{page.stem}\n" in index
