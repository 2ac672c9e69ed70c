"""The notebook runs, cell by cell."""

import json

from helpers import ROOT
from models import random_weights, write_checkpoint

NOTEBOOK = json.loads((ROOT / "docs/first_steps.ipynb").read_text())


def test_every_cell_of_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "best.ckpt", random_weights())
    names = {}

    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)

    assert set(names["found"].absence()) == {"red circle", "blue square"}


def test_the_notebook_holds_no_outputs():
    assert all(not cell.get("outputs") for cell in NOTEBOOK["cells"])
