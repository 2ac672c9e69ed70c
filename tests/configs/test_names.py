"""Names of configurations: what they stand for, and in which order."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from helpers import CONFIGS, ROOT

from glip_pl.configs import names
from glip_pl.configs.names import expand, known

BASE = f"--config={CONFIGS}/base.yaml"


def files(arguments):
    """The configuration files of a command line, from the last folder on."""
    configs = [a.removeprefix("--config=") for a in arguments if a.startswith("--config=")]
    return ["/".join(Path(config).parts[-2:]) for config in configs]


def test_names_become_files_in_a_fixed_order_whatever_was_typed_first():
    typed = ["--recipe=monitor", "--fusion=late", "--data=shapes", "--model=small"]

    assert files(expand("fit", typed)) == [
        "configs/base.yaml",
        "model/small.yaml",
        "data/shapes.yaml",
        "fusion_plugins/late.yaml",
        "recipe/monitor.yaml",
    ]


def test_further_options_come_after_the_files_and_keep_their_order():
    typed = ["--data.root=x", "--data=shapes", "--model.d_model=32", "--config=mine.yaml"]

    assert expand("fit", typed)[-3:] == [
        "--data.root=x",
        "--model.d_model=32",
        "--config=mine.yaml",
    ]


def test_a_value_may_follow_its_option_after_a_blank():
    assert files(expand("test", ["--data", "bccd"]))[-1] == "data/bccd.yaml"


@pytest.mark.parametrize("between", [",", " "])
def test_recipes_may_be_several(between):
    typed = ["--model=glip_l", f"--recipe=pretrain{between}pretrain_glip_l", "--recipe=ddp"]

    assert files(expand("fit", typed))[-3:] == [
        "recipe/pretrain.yaml",
        "recipe/pretrain_glip_l.yaml",
        "recipe/ddp.yaml",
    ]


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        (["--data=shapes"], "deep-tiny-shapes"),
        (["--model=glip_t_a", "--data=coco"], "late-glip_t_a-coco"),
        (["--fusion=closed_set", "--model=small", "--data=my/photos.yaml"], None),
    ],
)
def test_a_run_is_named_after_what_it_is_made_of(typed, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "my/photos.yaml").write_text("data: {}\n")

    expected = folder or "closed_set-small-photos"
    assert f"--trainer.logger.init_args.name={expected}" in expand("fit", typed)


def test_a_model_that_brings_its_fusion_gets_no_other():
    assert not any("fusion" in file for file in files(expand("fit", ["--model=glip_t_a"])))


def test_testing_takes_the_model_from_the_checkpoint():
    expanded = expand("test", ["--data=bccd", "--ckpt_path=x.ckpt"])

    assert files(expanded) == ["configs/base.yaml", "data/bccd.yaml"]
    assert "--trainer.logger.init_args.name=test-bccd" in expanded


def test_without_a_name_nothing_is_added():
    assert expand("fit", ["--config=a.yaml", "--model.d_model=32"]) == [
        "--config=a.yaml",
        "--model.d_model=32",
    ]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--model=smal", r"--model=smal is not known; did you mean small\? Choose one of glip_l"),
        ("--fusion=depe", r"did you mean deep\? Choose one of closed_set, deep, dino, late, query"),
        ("--data=coco_foldr", "did you mean coco_folder"),
        ("--recipe=pretrain,x", "--recipe=x is not known; choose one of ddp"),
        ("--data=my/none.yaml", "there is no such file"),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(typed, message):
    with pytest.raises(ValueError, match=message):
        expand("fit", [typed])


def plugin(tmp_path, monkeypatch, module, *, described):
    """Install a plugin `mine` of another project, with a YAML or without; it is never imported."""
    path = tmp_path / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("raise AssertionError('imported')")
    if described:
        (path.parent / "mine.yaml").write_text("model:\n  fusion:\n    class_path: x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        names, "registered", lambda group: [EntryPoint("mine", f"{module}:MyFusion", group)]
    )
    return path.parent


def test_a_plugin_of_another_project_brings_its_yaml(tmp_path, monkeypatch):
    folder = plugin(tmp_path, monkeypatch, "my_project.inner", described=True)
    (folder / "__init__.py").touch()

    assert known("fusion") == {"mine": str(folder / "mine.yaml")}


def test_a_plugin_without_a_yaml_is_its_class_alone(tmp_path, monkeypatch):
    plugin(tmp_path, monkeypatch, "my_module", described=False)

    assert yaml.safe_load(known("fusion")["mine"]) == {
        "model": {"fusion": {"class_path": "my_module.MyFusion"}}
    }


@pytest.mark.parametrize("kind", names.KINDS)
def test_every_name_is_a_file_with_a_first_line_that_says_when_to_use_it(kind):
    found = known(kind)

    assert found
    for path in found.values():
        assert Path(path).read_text().startswith("# "), path


def test_a_file_that_lay_elsewhere_in_an_earlier_version_is_found():
    old = "src/glip_pl/configs/tiny.yaml"

    assert expand("fit", [f"--config={old}", "--config", old]) == [
        f"--config={CONFIGS}/model/tiny.yaml",
        "--config",
        f"{CONFIGS}/model/tiny.yaml",
    ]


def test_a_wrong_name_is_told_before_anything_heavy_is_imported():
    program = (
        "import sys\nfrom glip_pl.cli import main\n"
        "try:\n    main(['fit', '--model=smal'])\n"
        "except SystemExit:\n    print(sorted({'torch', 'jsonargparse'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout == "[]\n"
    assert "did you mean small?" in done.stderr


def test_data_sets_lie_in_the_folder_that_the_readme_names():
    assert names.data_folder() == ROOT / "data"


def test_the_path_of_a_recipe_may_have_blanks(tmp_path):
    recipe = tmp_path / "my recipe.yaml"
    recipe.write_text("trainer: {max_epochs: 3}")

    assert files(expand("fit", ["--model=tiny", f"--recipe={recipe}"]))[-1].endswith(
        "my recipe.yaml"
    )
