"""The one opener: every kind of weights, what travels with them, and what is refused."""

import json
import sys

import pytest
import torch
import yaml
from models import NAMES, describe, random_weights, write_checkpoint

from glip_pl.training.task import GroundingTask
from glip_pl.weights import read_weights, write_folder
from glip_pl.weights.allowed_classes import check_class_paths, load_class
from glip_pl.weights.convert import convert
from glip_pl.weights.network import build_network


@pytest.fixture
def weights():
    return random_weights(thresholds={"red circle": 0.4}, trained_on=("shapes/train.json",))


@pytest.fixture
def checkpoint(weights, tmp_path):
    return write_checkpoint(tmp_path / "run.ckpt", weights)


@pytest.fixture
def folder(weights, tmp_path):
    write_folder(tmp_path / "folder", weights, weights.build().text)
    return tmp_path / "folder"


def same(one, other):
    return all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_a_checkpoint_of_a_run_is_read(checkpoint, weights):
    opened = read_weights(str(checkpoint))

    assert same(weights, opened)
    assert opened.about.class_names == NAMES
    assert (opened.about.short_side, opened.about.max_side) == (64, 96)


def test_a_folder_is_read_with_all_that_travels_along(folder, weights):
    opened = read_weights(str(folder))

    assert same(weights, opened)
    assert opened.about == weights.about
    assert opened.digest() == weights.digest()


def test_a_folder_has_the_tokenizer_and_a_card(folder):
    assert (folder / "text" / "tokenizer.json").is_file()
    card = (folder / "README.md").read_text()
    assert "red circle, blue square, green triangle" in card
    assert "shapes/train.json" in card


def test_a_run_is_converted_to_a_folder(checkpoint, weights, tmp_path, capsys):
    convert(str(checkpoint), str(tmp_path / "ours"))

    assert same(weights, read_weights(str(tmp_path / "ours")))
    assert f"{len(weights.state)} tensors" in capsys.readouterr().out


def test_a_folder_of_the_hub_is_read_from_its_local_cache(folder, monkeypatch):
    asked = []

    def local(repository, revision):
        asked.append((repository, revision))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", local)

    assert read_weights("hf:me/cells@v2").source == "hf:me/cells@v2"
    assert asked == [("me/cells", "v2")]


def test_a_hub_name_without_a_network_is_told(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no network\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)

    with pytest.raises(ValueError, match=r"neither in the local cache .* \(no network\)"):
        read_weights("hf:me/cells")


@pytest.mark.parametrize("name", ["hf:cells", "hf:a/b/c", "hf:/x"])
def test_a_name_that_is_none_of_the_hub_is_refused(name):
    with pytest.raises(ValueError, match="write hf:user/repo"):
        read_weights(name)


def test_a_class_of_another_module_is_refused_before_it_is_imported(tmp_path, weights, monkeypatch):
    (tmp_path / "harmful.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    described = weights.hyper_parameters
    described["backbone"]["class_path"] = "harmful.Backbone"
    checkpoint = write_checkpoint(tmp_path / "run.ckpt", weights)

    with pytest.raises(ValueError, match=r"harmful.Backbone.*--trust=harmful"):
        read_weights(str(checkpoint))
    assert "harmful" not in sys.modules


def test_a_class_of_another_module_is_refused_in_a_folder_too(folder):
    described = yaml.safe_load((folder / "model.yaml").read_text())
    described["fusion"]["init_args"]["inner"] = [{"class_path": "os.system"}]
    (folder / "model.yaml").write_text(yaml.safe_dump(described))

    with pytest.raises(ValueError, match=r"os\.system"):
        read_weights(str(folder))


def test_a_module_that_the_user_trusts_is_imported():
    check_class_paths({"class_path": "collections.OrderedDict"}, "a file", ["collections"])

    with pytest.raises(ValueError, match="--trust=collections"):
        check_class_paths({"class_path": "collections.OrderedDict"}, "a file")


def test_what_a_module_of_ours_imported_from_elsewhere_is_none_of_ours():
    with pytest.raises(ValueError, match="is no class of"):
        load_class("glip_pl.weights.folder.Path")


def test_a_part_must_be_of_its_kind():
    described = describe()
    described["backbone"] = described["text"]

    with pytest.raises(ValueError, match="TinyBert is no backbone"):
        build_network(described)


def test_what_does_not_fit_is_named_tensor_by_tensor(weights):
    other = describe()
    other["text"]["init_args"]["num_layers"] = 2

    with pytest.raises(ValueError, match=r"lacks text.bert.encoder.layer.1.*--new=\[text\]"):
        weights.give(build_network(other))


def test_a_part_that_is_said_to_be_new_keeps_its_own_numbers(weights):
    model = build_network(describe("deep.DeepFusion"))
    own = {name: value.clone() for name, value in model.state_dict().items()}

    fresh = weights.give(model, new=["fusion"])

    assert all(name.startswith("fusion.") for name in fresh)
    assert torch.equal(model.state_dict()[fresh[0]], own[fresh[0]])
    assert torch.equal(model.state_dict()["head.prior_bias"], weights.state["head.prior_bias"])


def test_a_new_part_must_exist(weights):
    with pytest.raises(ValueError, match="has no part 'head2'"):
        weights.give(weights.build(), new=["head2"])


def test_a_checkpoint_that_lacks_tensors_is_refused(weights, tmp_path):
    del weights.state["head.prior_bias"]

    with pytest.raises(ValueError, match=r"lacks head.prior_bias \(1 in all\)"):
        read_weights(str(write_checkpoint(tmp_path / "run.ckpt", weights))).build()


def test_weights_that_are_not_finite_are_refused(weights, tmp_path):
    weights.state["head.prior_bias"][0] = torch.nan

    with pytest.raises(ValueError, match=r"not finite, for example model.head.prior_bias"):
        read_weights(str(write_checkpoint(tmp_path / "run.ckpt", weights)))


class Poison:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("harm",)


def test_the_refusal_of_code_does_not_advise_to_run_it(weights, tmp_path, capsys):
    path = write_checkpoint(tmp_path / "run.ckpt", weights, callbacks=Poison())

    with pytest.raises(ValueError, match="code in it is never run") as refused:
        read_weights(str(path))
    assert "weights_only" not in str(refused.value)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("receipt.json", "[" * 100_000, "receipt.json' is damaged"),
        ("receipt.json", "{}", "receipt.json' is damaged"),
        ("receipt.json", '{"tensors": {"a": 1}}', "receipt.json' is damaged"),
        ("model.yaml", "[" * 100_000, "model.yaml' is damaged"),
        ("model.yaml", "a: &x [1]\nb: *x\n", "model.yaml' is damaged"),
        ("model.yaml", "text: hello", "model.yaml' is damaged"),
        ("model.yaml", "a: " + "x" * 2**20, "more than"),
        ("about.json", '{"thresholds": {"a": "high"}}', "damaged: thresholds"),
        ("about.json", '{"short_side": -3}', "damaged: short_side"),
        ("model.safetensors", "nothing", "model.safetensors' is damaged"),
    ],
)
def test_a_damaged_file_of_a_folder_ends_in_one_line(folder, file, content, message):
    (folder / file).write_text(content)

    with pytest.raises(ValueError, match=message) as refused:
        read_weights(str(folder)).build()
    assert len(str(refused.value).splitlines()) == 1


def test_a_folder_without_what_is_known_still_opens(folder):
    (folder / "about.json").unlink()

    assert read_weights(str(folder)).about.short_side == 800


def test_the_receipt_of_any_model_has_every_tensor(folder, weights):
    receipt = json.loads((folder / "receipt.json").read_text())

    assert set(receipt["tensors"]) == set(weights.state)


def test_a_folder_is_never_written_over(folder, weights):
    with pytest.raises(ValueError, match="exists already"):
        write_folder(folder, weights, weights.build().text)


def test_a_checkpoint_of_before_is_opened_by_lightning_itself(weights, tmp_path):
    before = {
        **weights.hyper_parameters,
        **{"num_layers": 1, "dropout": 0.0, "anchor_scale": 8.0},
        **{"still_start": True, "checkpoint_layers": False},
        "optimizer": {"class_path": "glip_pl.optim.OptimizerSettings", "init_args": {"lr": 0.5}},
        "_instantiator": "pytorch_lightning.cli.instantiate_module",
    }
    state = {f"model.{name}": value for name, value in weights.state.items()}
    version = {"pytorch-lightning_version": "2.6.0"}
    torch.save({"state_dict": state, "hyper_parameters": before, **version}, tmp_path / "a.ckpt")

    task = GroundingTask.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)

    assert all(
        torch.equal(value, state[f"model.{n}"]) for n, value in task.model.state_dict().items()
    )


def test_an_exported_folder_is_told_what_opens_it(tmp_path):
    (tmp_path / "description.json").touch()

    with pytest.raises(ValueError, match=r"an exported model.*Runtime.*or `glip serve --weights="):
        read_weights(str(tmp_path))


def test_a_file_of_another_model_is_told_what_it_lacks(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "yolo.pt")

    with pytest.raises(ValueError, match=r"no tensor 'backbone\.body\.layers\.0\.blocks'.*conv"):
        read_weights(str(tmp_path / "yolo.pt"))
