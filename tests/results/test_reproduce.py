"""`glip reproduce`: what is stated, what is missing, and a figure from start to end."""

import json

import pytest
from helpers import write_coco
from parity import dino_oracle

from glip_pl.cli import main
from glip_pl.results import reproduce
from glip_pl.results.reproduce import stated


def test_figures_are_those_of_the_authors():
    assert stated("glip_t", "coco") == 46.6
    assert stated("mm_grounding_dino_t", "lvis") == 41.4


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("glip_x", "coco", "'glip_x' is not published; choose one of glip_t_a"),
        ("glip_t", "lvis", "no figure of glip_t on LVIS minival.* pass --data=coco"),
        ("grounding_dino_b", "coco", "no figure of grounding_dino_b.* test it by glip test"),
    ],
)
def test_a_figure_that_nobody_states_is_refused(name, data, complaint):
    with pytest.raises(ValueError, match=complaint):
        stated(name, data)


def lay_out(root):
    """Write two images in the places of COCO's validation set."""
    boxes = {f"{k}.jpg": [(1, (5, 5, 20, 20))] for k in range(2)}
    write_coco(root, boxes, names={1: "cat", 2: "dog"}, file="instances_val2017.json")
    (root / "images").rename(root / "val2017")


def test_what_must_be_brought_by_hand_is_told(tmp_path, capsys, monkeypatch):
    asked = []

    def fetch(source, root, console):
        asked.extend([*source.needs, *(remote.gives for remote in source.files)])
        return ["val2017"]

    monkeypatch.setattr(reproduce, "fetch", fetch)

    with pytest.raises(SystemExit):
        main(["reproduce", "mm_grounding_dino_t", f"--root={tmp_path}"])

    assert not any("train2017" in path for path in asked)  # 19 GB that no test needs.
    assert "lacks val2017; do what is listed above, or name" in capsys.readouterr().err


@pytest.mark.slow
def test_measured_stands_beside_published(tmp_path, capfd):
    lay_out(tmp_path / "coco")
    folder = dino_oracle.save(dino_oracle.oracle("mm-grounding-dino"), tmp_path / "mine")
    small = "--data.eval_transform.short_sides=[96] --data.eval_transform.max_side=160"

    main(
        [
            "reproduce",
            "mm_grounding_dino_t",
            f"--weights={folder}",
            f"--root={tmp_path / 'coco'}",
            f"--output={tmp_path / 'runs'}",
            f"--options={small} --trainer.accelerator=cpu",
        ]
    )

    record = json.loads((tmp_path / "runs/mm_grounding_dino_t/coco/reproduce.json").read_text())
    assert (record["published"], record["benchmark"]) == (50.4, "COCO val2017, zero-shot AP")
    assert record["difference"] == pytest.approx(record["measured"] - 50.4)
    assert "50.4" in capfd.readouterr().out
