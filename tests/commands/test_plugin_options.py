"""What a model's file says of whatever plugin it meets."""

import pytest
from command_line import parse
from helpers import CONFIGS, ROOT
from jsonargparse import Namespace

from glip_pl.commands.plugin_options import plugin_options


def options(given=(), **defaults):
    fusion = Namespace(class_path="fusion_plugins.late.LateFusion")
    config = Namespace(model=Namespace(fusion=fusion), fusion_defaults=defaults)
    return plugin_options(config, given)


def test_a_plugin_takes_those_that_its_constructor_has():
    assert options(num_layers=3, dropout=0.5) == {"num_layers": 3}


def test_what_is_said_of_the_plugin_itself_comes_first():
    assert options(["--model.fusion.init_args.num_layers=1"], num_layers=3) == {}


def test_an_option_of_no_plugin_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"num_layer is no option .* did you mean num_layers"):
        options(num_layer=3)


def test_a_fusion_takes_the_depth_of_its_model():
    parsed = parse(
        *(CONFIGS / "model/glip_l.yaml", ROOT / "data/shapes.yaml"),
        ROOT / "fusion_plugins/deep.yaml",
    )

    assert parsed.model.fusion.init_args.num_layers == 8
