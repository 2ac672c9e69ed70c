"""Checkpoints of official GLIP: names, conversion both ways, reading, refusals, download."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from helpers import REFERENCE, ROOT
from official import LATE, TINY, official_state, take_tiny_bert
from pytorch_lightning.cli import instantiate_module
from safetensors.torch import load_file, save_file

import glip_pl.prompts
import glip_pl.text.vocabulary
from glip_pl.cli import main
from glip_pl.training.task import GroundingTask
from glip_pl.weights import published, read_weights
from glip_pl.weights.official.architecture import GLIP_L, GLIP_T, GLIP_T_A, Architecture
from glip_pl.weights.official.conversion import to_official
from glip_pl.weights.published import PUBLISHED, Published, fetch


@pytest.fixture
def tiny_bert(monkeypatch):
    """A small BERT in the place of the released models' text encoder; other paths are read."""
    take_tiny_bert(monkeypatch)


@pytest.fixture
def checkpoint(tiny_bert, tmp_path):
    """An official checkpoint with deep fusion, and what else a trainer leaves in it."""
    path = tmp_path / "official.pth"
    torch.save({"model": official_state(TINY), "iteration": 7, "optimizer": {"state": {}}}, path)
    return path


def convert(*arguments):
    main(["convert", *map(str, arguments)])


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"{REFERENCE} is absent")
@pytest.mark.parametrize(
    ("name", "architecture"), [("glip_t_a", GLIP_T_A), ("glip_t", GLIP_T), ("glip_l", GLIP_L)]
)
def test_names_and_shapes_are_those_of_the_released_models(name, architecture):
    rows = (REFERENCE / f"{name}_state_dict.tsv").read_text().splitlines()
    expected = {
        key: tuple(int(side) for side in shape.split("x")) if shape else ()
        for key, shape, _ in (row.split("\t") for row in rows)
    }
    with torch.device("meta"):
        model = instantiate_module(GroundingTask, architecture.hyper_parameters()).model

    state = to_official(model, deep=architecture.deep)

    assert {key: tuple(value.shape) for key, value in state.items()} == expected


@pytest.mark.parametrize("architecture", [GLIP_T_A, GLIP_T, GLIP_L, TINY])
def test_the_sizes_are_read_off_the_tensors(architecture, request):
    if architecture is TINY:
        request.getfixturevalue("tiny_bert")
    with torch.device("meta"):
        model = instantiate_module(GroundingTask, architecture.hyper_parameters()).model

    assert Architecture.of(to_official(model, deep=architecture.deep)) == architecture


@pytest.mark.parametrize(
    ("name", "architecture"), [("glip_t_a", GLIP_T_A), ("glip_t", GLIP_T), ("glip_l", GLIP_L)]
)
def test_the_model_files_describe_the_released_models(name, architecture):
    file = yaml.safe_load((ROOT / f"src/glip_pl/configs/model/{name}.yaml").read_text())
    described = file["model"]
    expected = architecture.hyper_parameters()

    for key, value in described.items():
        if isinstance(value, dict) and "class_path" in value:
            assert value["class_path"] == expected[key]["class_path"]
            for argument, given in value.get("init_args", {}).items():
                if argument in expected[key]["init_args"] and key != "text":
                    assert given == expected[key]["init_args"][argument], argument
        else:
            assert value == expected[key], key
    assert file["fusion_defaults"]["num_layers"] == architecture.num_layers


@pytest.mark.parametrize("architecture", [TINY, LATE])
def test_there_and_back_nothing_changes(architecture, tiny_bert, tmp_path):
    given = official_state(architecture)
    torch.save({"model": given}, tmp_path / "official.pth")

    convert(tmp_path / "official.pth", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back.pth")

    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    assert {f"module.{name}" for name in back} == set(given)
    for name, value in back.items():
        assert torch.equal(value, given[f"module.{name}"]), name


def test_the_receipt_accounts_for_every_tensor(checkpoint, tmp_path, capsys):
    convert(checkpoint, tmp_path / "ours")

    receipt = json.loads((tmp_path / "ours" / "receipt.json").read_text())
    state = load_file(tmp_path / "ours" / "model.safetensors")
    sources = [name for entry in receipt["tensors"].values() for name in entry["official"]]
    given = {name.removeprefix("module.") for name in official_state(TINY)}
    assert sorted([*sources, *receipt["dropped"]]) == sorted(given)
    assert set(receipt["tensors"]) == set(state)
    for name, entry in receipt["tensors"].items():
        assert entry["shape"] == list(state[name].shape)
        assert entry["sha256"] == hashlib.sha256(state[name].numpy().tobytes()).hexdigest()
    printed = capsys.readouterr().out
    assert f"{len(given)} tensors: {len(sources)} mapped, {len(receipt['dropped'])} left" in printed
    assert "worked out from the window size" in printed


def test_a_folder_and_its_source_are_the_same_model(checkpoint, tmp_path):
    convert(checkpoint, tmp_path / "ours")
    folder, source = (read_weights(str(p)).build() for p in (tmp_path / "ours", checkpoint))
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    mask = torch.ones(1, 64, 96, dtype=torch.bool)
    prompt = glip_pl.prompts.PromptTemplate().join(["cat", "dog"])

    with torch.no_grad():
        outputs = [
            model(images, mask, model.text.tokenizer([prompt])) for model in (folder, source)
        ]

    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert torch.equal(outputs[0].boxes, outputs[1].boxes)


def test_what_pretraining_leaves_is_set_aside(tiny_bert, tmp_path):
    state = official_state(TINY)
    state |= {
        "module.rpn.head.mlm_head.decoder.weight": torch.zeros(3, 3),
        "module.language_backbone.body.model.pooler.dense.weight": torch.zeros(3, 3),
    }
    torch.save({"model": state}, tmp_path / "official.pth")

    convert(tmp_path / "official.pth", tmp_path / "ours")

    dropped = json.loads((tmp_path / "ours" / "receipt.json").read_text())["dropped"]
    assert "pre-training" in dropped["rpn.head.mlm_head.decoder.weight"]
    assert "pooled" in dropped["language_backbone.body.model.pooler.dense.weight"]


def test_the_offsets_of_prompt_tuning_stay_both_ways(tiny_bert, tmp_path):
    table = torch.randn(1000, 64)
    state = official_state(LATE) | {"module.rpn.tunable_linear.weight": table}
    torch.save({"model": state}, tmp_path / "official.pth")

    convert(tmp_path / "official.pth", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back.pth")

    model = read_weights(str(tmp_path / "ours")).build()
    assert model.prompt.weight.equal(table)
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    assert back["rpn.tunable_linear.weight"].equal(table)


def lose(state):
    del state["module.rpn.head.bias0"]


def add(state):
    state["module.rpn.head.something.weight"] = torch.zeros(2)


def reshape(state):
    state["module.rpn.head.centerness.weight"] = torch.zeros(1, 31, 1, 1)


def rename(state):
    state["weight"] = torch.zeros(2)
    for name in list(state):
        if name.startswith("module."):
            del state[name]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose, r"lacks rpn.head.bias0 \(1 in all\)"),
        (add, r"has unknown rpn.head.something.weight"),
        (reshape, r"other shapes: head.centerness.weight is \[1, 31\], not \[1, 32\]"),
        (rename, "is not a checkpoint of official GLIP"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(spoil, message, tiny_bert, tmp_path):
    state = official_state(TINY)
    spoil(state)
    torch.save({"model": state}, tmp_path / "odd.pth")

    with pytest.raises(ValueError, match=message):
        read_weights(str(tmp_path / "odd.pth"))


class Poison:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"model": Poison(tmp_path / "harm")}, tmp_path / "poisoned.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": Poison(tmp_path / "harm")}))

    for name in ("poisoned.pth", "plain.pth"):
        with pytest.raises(SystemExit, match="2"):
            convert(tmp_path / name, tmp_path / "ours")
        assert "it holds more than numbers" in capsys.readouterr().err

    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "ours").exists()


def test_a_truncated_checkpoint_is_refused(checkpoint, tmp_path, capsys):
    whole = checkpoint.read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(SystemExit, match="2"):
        convert(tmp_path / "half.pth", tmp_path / "ours")

    assert "half.pth' cannot be read as weights" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_nothing_is_overwritten(checkpoint, tmp_path, capsys):
    (tmp_path / "ours").mkdir()

    with pytest.raises(SystemExit, match="2"):
        convert(checkpoint, tmp_path / "ours")

    assert "exists already" in capsys.readouterr().err


def test_an_unknown_name_is_told_the_published_ones(capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        convert("glip_xl", tmp_path / "ours")

    error = capsys.readouterr().err
    assert "the weights file 'glip_xl' does not exist" in error
    assert "glip_t_a, glip_t_b, glip_t_c, glip_t, glip_l" in error


def test_a_folder_with_a_changed_tensor_is_refused(checkpoint, tmp_path):
    convert(checkpoint, tmp_path / "ours")
    state = load_file(tmp_path / "ours" / "model.safetensors")
    state["head.prior_bias"] += 1
    save_file(state, tmp_path / "ours" / "model.safetensors")

    with pytest.raises(ValueError, match=r"head.prior_bias \(1 in all\).* are not what"):
        read_weights(str(tmp_path / "ours"))


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"lacks model.safetensors, model.yaml, receipt.json"):
        read_weights(str(tmp_path))


def test_official_weights_predict(checkpoint, shapes_root, tmp_path):
    image = next((shapes_root / "images").iterdir())
    convert(checkpoint, tmp_path / "ours")

    for k, weights in enumerate((checkpoint, tmp_path / "ours")):
        main(
            [
                "predict",
                f"--weights={weights}",
                f"--image={image}",
                "--prompt=circle. square",
                f"--output={tmp_path}/{k}",
                "--short_side=64",
                "--threshold=0.2",
                "--device=cpu",
            ]
        )

    first, second = (json.loads((tmp_path / f"{k}/predictions.json").read_text()) for k in (0, 1))
    assert first == second
    assert (tmp_path / "0" / image.name).is_file()


def test_predicting_needs_one_model(capsys, shapes_root):
    image = next((shapes_root / "images").iterdir())
    both = ["--weights=a", "--ckpt_path=b"]

    for models in ([], both):
        with pytest.raises(SystemExit, match="2"):
            main(["predict", f"--image={image}", "--prompt=circle", *models])
        assert "pass either --ckpt_path or --weights" in capsys.readouterr().err


def data_options(shapes_root, tmp_path):
    return [
        f"--config={ROOT}/src/glip_pl/configs/base.yaml",
        f"--config={ROOT}/data/shapes.yaml",
        f"--data.root={shapes_root}",
        "--data.builder=null",
        "--data.num_workers=0",
        "--data.train_transform.short_sides=[64]",
        "--data.eval_transform.short_sides=[64]",
        f"--trainer.logger.init_args.save_dir={tmp_path}/runs",
        "--trainer.logger.init_args.name=run",
    ]


def test_official_weights_are_tested(checkpoint, shapes_root, tmp_path):
    main(["test", *data_options(shapes_root, tmp_path), f"--weights={checkpoint}"])

    results = next((tmp_path / "runs" / "run").rglob("results.json"))
    assert "map" in results.read_text()


def test_training_starts_from_official_weights(checkpoint, shapes_root, tmp_path):
    described = TINY.hyper_parameters()
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"model": described}))
    options = [*data_options(shapes_root, tmp_path), f"--config={tmp_path}/model.yaml"]
    still = [f"--model.optimizer.{part}=0" for part in ("lr", "backbone_lr", "text_lr")]

    main(["fit", *options, *still, f"--weights={checkpoint}", "--trainer.max_steps=1"])

    last = next((tmp_path / "runs").rglob("last.ckpt"))
    trained = torch.load(last, weights_only=True)["state_dict"]
    for name, value in read_weights(str(checkpoint)).state.items():
        assert torch.equal(trained[f"model.{name}"], value), name


def test_training_another_model_from_them_is_refused(checkpoint, shapes_root, tmp_path, capsys):
    described = LATE.hyper_parameters()
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"model": described}))
    options = [*data_options(shapes_root, tmp_path), f"--config={tmp_path}/model.yaml"]

    with pytest.raises(SystemExit, match="2"):
        main(["fit", *options, f"--weights={checkpoint}"])

    assert "the weights are of another model" in capsys.readouterr().err


def test_a_trained_checkpoint_goes_back_too(checkpoint, shapes_root, tmp_path):
    described = TINY.hyper_parameters()
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"model": described}))
    options = [*data_options(shapes_root, tmp_path), f"--config={tmp_path}/model.yaml"]
    main(["fit", *options, f"--weights={checkpoint}", "--trainer.max_steps=1"])

    convert(next((tmp_path / "runs").rglob("last.ckpt")), tmp_path / "back.pth")

    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    assert {f"module.{name}" for name in back} == set(official_state(TINY))


def test_a_published_checkpoint_is_downloaded_once(server, monkeypatch, tmp_path):
    monkeypatch.setenv("GLIP_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(server.content).hexdigest()
    entry = Published("toy.pth", "nothing", 0.0, 0.0, digest)
    monkeypatch.setitem(published.PUBLISHED, "toy", entry)

    first = fetch("toy", hub=server.url)
    second = fetch("toy", hub=server.url)

    assert first == second == tmp_path / "cache" / "toy.pth"
    assert first.read_bytes() == server.content
    assert server.asked == ["/toy.pth"]


def test_without_a_network_the_way_to_the_file_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("GLIP_CACHE", str(tmp_path / "cache"))

    with pytest.raises(ValueError, match=r"put the file at '.*cache/glip_large_model.pth' by hand"):
        fetch("glip_l", hub="http://127.0.0.1:9")


def test_five_checkpoints_are_published():
    assert list(PUBLISHED) == ["glip_t_a", "glip_t_b", "glip_t_c", "glip_t", "glip_l"]
    assert all(entry.file.endswith(".pth") for entry in PUBLISHED.values())
