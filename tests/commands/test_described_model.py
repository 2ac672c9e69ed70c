"""The model that `glip fit --weights=...` learns with, where none is named."""

import json
from pathlib import Path

import pytest
from parity import dino_oracle as small

from glip_pl.commands.described_model import described_model
from glip_pl.configs.names import BASE, DescribedModel, expand

DESCRIBED = DescribedModel("old/best.ckpt", "fusion_plugins.dino.DinoFusion", "/tmp/model.json")


def test_the_model_of_the_weights_takes_the_place_of_one_by_name():
    found = expand("fit", ["--data=shapes", "--weights=old/best.ckpt"], DESCRIBED)

    base, name, model, data, weights = found
    assert base == f"--config={BASE}"
    assert name.endswith("=dino-best-shapes")
    assert model == "--config=/tmp/model.json"
    assert data.endswith("shapes.yaml")
    assert weights == "--weights=old/best.ckpt"


@pytest.mark.parametrize("named", ["--model=tiny", "--fusion=late"])
def test_a_model_that_is_named_is_taken(named):
    assert described_model(["--weights=nowhere.ckpt", named]) is None


def test_without_weights_nothing_is_described():
    assert described_model(["--data=shapes"]) is None


@pytest.mark.parametrize("trust", ["my.parts", "[my.parts]", '["my.parts", "others"]'])
def test_modules_to_trust_are_read_as_they_are_typed(tmp_path, trust):
    folder = small.save(small.oracle("mm-grounding-dino"), tmp_path / "mine")

    assert described_model([f"--weights={folder}", f"--trust={trust}"]) is not None


def test_only_the_network_is_described_and_starts_from_no_other_weights(tmp_path):
    folder = small.save(small.oracle("mm-grounding-dino"), tmp_path / "mine")

    found = described_model(["--weights", str(folder), "--data=shapes"])

    assert (found.source, found.fusion) == (str(folder), "fusion_plugins.dino.DinoFusion")
    config = json.loads(Path(found.config).read_text())
    assert config["fusion_defaults"] == {}
    assert config["model"]["fusion"]["init_args"]["num_queries"] == small.QUERIES
    assert config["model"]["text"]["init_args"]["load_weights"] is False
    assert not {"optimizer", "schedule", "tuning"} & set(config["model"])
