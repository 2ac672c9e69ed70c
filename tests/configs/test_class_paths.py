from importlib import import_module
from importlib.util import find_spec

import pytest
import yaml
from jsonargparse import ArgumentParser

from glip_pl.cli import main
from glip_pl.configs.class_paths import (
    _MOVED,
    accept_moved_classes,
    current_path,
    with_current_paths,
)
from glip_pl.weights.run_checkpoint import read_checkpoint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("glip_pl.optim.Plateau", "glip_pl.training.optim.Plateau"),
        ("glip_pl.data.CocoDetection", "glip_pl.data.CategoryDetection"),
        ("glip_pl.data.coco.CocoDetection", "glip_pl.data.CategoryDetection"),
        ("glip_pl.text.TinyBert", "glip_pl.text.TinyBert"),
        ("other.optim.Plateau", "other.optim.Plateau"),
    ],
)
def test_an_old_class_path_leads_to_the_class_of_today(old, new):
    assert current_path(old) == new


@pytest.mark.parametrize("new", _MOVED.values())
def test_what_moved_is_where_the_table_says(new):
    module, _, name = f"glip_pl.{new}".rpartition(".")
    package = import_module(module)

    assert hasattr(package, name) or find_spec(f"glip_pl.{new}")


def test_paths_are_replaced_in_nested_lists_and_nowhere_else():
    described = {"a": [{"class_path": "glip_pl.task.GroundingTask", "note": "glip_pl.task"}]}

    assert with_current_paths(described) == {
        "a": [{"class_path": "glip_pl.training.task.GroundingTask", "note": "glip_pl.task"}]
    }


@pytest.mark.parametrize(("direction", "kept"), [("both", []), ("to_image", ["direction"])])
def test_an_argument_that_is_gone_is_left_out_at_the_value_that_it_had(direction, kept):
    path = "fusion_plugins.deep.DeepFusion"
    described = {"fusion": {"class_path": path, "init_args": {"direction": direction}}}

    assert list(with_current_paths(described)["fusion"]["init_args"]) == kept


def test_a_value_that_is_no_yaml_goes_on_being_a_text():
    accept_moved_classes()
    accept_moved_classes()
    parser = ArgumentParser()
    parser.add_argument("--prompt", type=str)

    assert parser.parse_args(["--prompt=[a cat] on a sofa"]).prompt == "[a cat] on a sofa"


@pytest.mark.slow
def test_a_file_and_a_checkpoint_with_old_paths_go_on_working(shapes_arguments, tmp_path):
    old = tmp_path / "old.yaml"
    schedule = {"class_path": "glip_pl.optim.Cosine", "init_args": {"final": 0.5}}
    old.write_text(yaml.safe_dump({"model": {"schedule": schedule}}))
    main(["fit", *shapes_arguments, f"--config={old}", "--trainer.limit_train_batches=1"])
    (checkpoint,) = tmp_path.rglob("last.ckpt")

    described = read_checkpoint(checkpoint)["hyper_parameters"]

    assert described["schedule"]["class_path"] == "glip_pl.training.optim.Cosine"
