import json
import subprocess
import sys

import pytest
import torch
import yaml
from command_line import parse
from helpers import CONFIGS, ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from glip_pl.cli import main
from glip_pl.commands.grounding_cli import GroundingCLI
from glip_pl.training.task import GroundingTask

FUSIONS = sorted((ROOT / "fusion_plugins").glob("*.yaml"))
MODELS = ("tiny", "resnet50", "swin_t", "small", "glip_t_a", "glip_t", "glip_l")


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda path: path.stem)
def test_every_fusion_trains_and_tests_from_its_yaml(fusion, shapes_arguments, tmp_path):
    arguments = [*shapes_arguments, f"--config={fusion}", "--trainer.limit_val_batches=1"]
    main(["fit", *arguments])
    run = tmp_path / "runs/run/version_0"

    loaded = GroundingTask.load_from_checkpoint(
        run / "checkpoints/last.ckpt", map_location="cpu", weights_only=True
    )

    asked = yaml.safe_load(fusion.read_text())["model"]["fusion"]["class_path"]
    assert type(loaded.model.fusion).__name__ == asked.rpartition(".")[2]


def test_a_run_logs_losses_rates_scores_and_pictures(trained_run):
    events = EventAccumulator(str(trained_run))
    events.Reload()

    scalars = set(events.Tags()["scalars"])
    assert {"train/loss", "train/token", "train/giou", "train/centerness", "val/score"} <= scalars
    assert {"train/lr/backbone", "train/lr/text", "train/lr/head"} <= scalars
    assert any(name.endswith("/map") for name in scalars)
    assert events.Tags()["images"]


def test_a_run_keeps_the_best_and_the_last_checkpoint_and_its_configuration(trained_run):
    names = {path.name for path in (trained_run / "checkpoints").iterdir()}

    assert names == {"best.ckpt", "last.ckpt"}
    assert yaml.safe_load((trained_run / "config.yaml").read_text())["seed_everything"] == 0


def test_a_run_resumes_where_it_stopped(trained_run, shapes_arguments):
    last = trained_run / "checkpoints/last.ckpt"

    cli = GroundingCLI(["fit", *shapes_arguments, f"--ckpt_path={last}", "--trainer.max_epochs=2"])

    assert cli.trainer.current_epoch == 2
    assert cli.trainer.global_step == 2 * torch.load(last, weights_only=True)["global_step"]


def test_testing_needs_only_the_checkpoint_and_the_data(trained_run, shapes_root, tmp_path):
    main(
        [
            "test",
            f"--config={CONFIGS}/base.yaml",
            f"--config={ROOT}/data/shapes.yaml",
            f"--data.root={shapes_root}",
            "--data.builder=null",
            f"--ckpt_path={trained_run}/checkpoints/last.ckpt",
            f"--trainer.logger.init_args.save_dir={tmp_path}/tests",
        ]
    )

    (report,) = tmp_path.glob("tests/**/results.json")
    results = json.loads(report.read_text())
    assert {"map", "map_50", "map_75", "map_small"} <= {
        name.split("/", 2)[2] for name in results["metrics"] if name.startswith("test/shapes/")
    }
    assert results["checkpoint"].endswith("last.ckpt")


def test_a_run_in_mixed_precision_stays_finite(shapes_arguments):
    cli = GroundingCLI(
        [
            "fit",
            *shapes_arguments,
            "--trainer.precision=bf16-mixed",
            "--trainer.limit_val_batches=0",
        ]
    )

    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert {p.dtype for p in cli.model.parameters()} == {torch.float32}


def test_two_runs_with_one_seed_are_equal(shapes_arguments, tmp_path):
    weights = []
    for _ in range(2):
        cli = GroundingCLI(["fit", *shapes_arguments, "--trainer.limit_val_batches=0"])
        weights.append(cli.model.state_dict())

    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


# Each model and each fusion once; the other pairs are slow together.
PAIRS = [
    pytest.param(
        *(model, fusion),
        id=f"{model}-{fusion.stem}",
        marks=[] if k == j % len(FUSIONS) else [pytest.mark.slow],
    )
    for j, model in enumerate(MODELS)
    for k, fusion in enumerate(FUSIONS)
]


@pytest.mark.parametrize(("model", "fusion"), PAIRS)
def test_every_shipped_model_and_fusion_parse(model, fusion):
    parsed = parse(CONFIGS / f"model/{model}.yaml", ROOT / "data/shapes.yaml", fusion).model

    described = yaml.safe_load((CONFIGS / f"model/{model}.yaml").read_text())
    sizes = described["model"]
    assert parsed.d_model == sizes["d_model"]
    assert parsed.fusion.init_args.d_model == sizes["d_model"]
    assert parsed.fusion.init_args.num_layers == described["fusion_defaults"]["num_layers"]


@pytest.mark.parametrize(
    ("model", "fusion"),
    [("glip_t_a", "LateFusion"), ("glip_t", "DeepFusion"), ("glip_l", "DeepFusion")],
)
def test_a_published_model_brings_its_fusion(model, fusion):
    parsed = parse(CONFIGS / f"model/{model}.yaml", ROOT / "data/shapes.yaml").model

    assert parsed.fusion.class_path.endswith(fusion)
    assert parsed.fusion.init_args.num_layers == (8 if model == "glip_l" else 6)


@pytest.mark.parametrize(
    "recipe", ["pretrain", "pretrain pretrain_glip_l", "pretrain finetune_coco", "finetune_odinw"]
)
def test_every_recipe_adds_to_model_and_data(recipe):
    files = [CONFIGS / f"recipe/{name}.yaml" for name in recipe.split()]
    parsed = parse(CONFIGS / "model/glip_l.yaml", ROOT / "data/coco.yaml", *files)

    callbacks = [callback.class_path.rpartition(".")[2] for callback in parsed.trainer.callbacks]
    assert parsed.model.backbone.init_args.embed_dim == 192
    assert parsed.model.optimizer.bias_lr_factor == 2
    assert parsed.data.train[0].init_args.fixed_prompt
    assert not parsed.data.train_transform.mirror_captions
    assert {"BestCheckpoint", "LastCheckpoint"} <= set(callbacks)
    assert ("EMAWeightAveraging" in callbacks) == ("pretrain" in recipe)


def test_glip_l_pretrains_with_its_own_decay_and_length():
    names = ("model/glip_l", "recipe/pretrain", "recipe/pretrain_glip_l")
    files = [CONFIGS / f"{name}.yaml" for name in names]

    parsed = parse(ROOT / "data/pretrain_l.yaml", *files)

    assert parsed.model.optimizer.weight_decay == 0.01
    assert parsed.model.optimizer.warmup_steps == 2000
    assert parsed.model.backbone.init_args.freeze == 2
    assert (parsed.trainer.max_epochs, parsed.trainer.max_steps) == (-1, 1_000_000)
    assert len(parsed.data.sampling.weights) == len(parsed.data.train)


def test_a_run_by_the_recipe_saves_averaged_weights_that_can_be_tested(shapes_arguments, tmp_path):
    arguments = [
        *shapes_arguments,
        f"--config={CONFIGS}/recipe/pretrain.yaml",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--data.train_transform.short_sides=[128]",
        "--trainer.precision=32-true",
        "--model.optimizer.warmup_steps=0",
        "--trainer.max_epochs=1",
    ]
    main(["fit", *arguments])
    path = tmp_path / "runs/run/version_0/checkpoints/last.ckpt"

    main(["test", *shapes_arguments, f"--ckpt_path={path}"])

    saved = torch.load(path, weights_only=True)
    name = "model.head.box_offset.weight"
    loaded = GroundingTask.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    assert saved["averaging_state"]["n_averaged"] == 2
    assert torch.equal(loaded.state_dict()[name], saved["state_dict"][name])
    assert not torch.equal(saved["state_dict"][name], saved["current_model_state"][name])


def failure(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_rates_fall_where_the_score_stays(shapes_arguments, tmp_path):
    main(
        [
            "fit",
            *shapes_arguments,
            "--model.schedule=glip_pl.training.optim.Plateau",
            "--model.schedule.init_args.patience=0",
            "--model.schedule.init_args.min_lr=0",
            "--model.optimizer.lr=1e-12",
            "--model.optimizer.warmup_steps=0",
            "--trainer.limit_train_batches=1",
            "--trainer.max_epochs=3",
        ]
    )

    last = torch.load(next((tmp_path / "runs").rglob("last.ckpt")), weights_only=True)
    rates = {g["name"]: g["lr"] for g in last["optimizer_states"][0]["param_groups"]}
    # The first epoch sets the score; the second and third are no better.
    assert rates["head"] == pytest.approx(1e-14)


def test_a_wrong_data_root_is_told_how_to_be_mended(capsys, shapes_arguments, tmp_path):
    arguments = [*shapes_arguments, f"--data.root={tmp_path}/nowhere"]

    message = failure(capsys, ["fit", *arguments])

    assert "nowhere" in message
    assert "--data.root=PATH" in message


def test_a_wrong_plugin_name_lists_the_installed_ones(capsys, shapes_arguments):
    message = failure(capsys, ["fit", *shapes_arguments, "--model.fusion=DeepFusoin"])

    assert "DeepFusoin" in message
    assert "DeepFusion, DinoFusion, LateFusion, QueryFusion" in message


def test_testing_without_a_checkpoint_is_refused(capsys, shapes_arguments):
    message = failure(capsys, ["test", *shapes_arguments])

    assert "--ckpt_path=PATH" in message


def test_a_missing_checkpoint_is_named(capsys, shapes_arguments):
    message = failure(capsys, ["test", *shapes_arguments, "--ckpt_path=none.ckpt"])

    assert "there is no checkpoint 'none.ckpt'" in message


def test_a_checkpoint_of_another_program_is_refused(capsys, shapes_arguments, tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"width": 3}}, path)

    assert "another model" in failure(capsys, ["test", *shapes_arguments, f"--ckpt_path={path}"])


def test_a_damaged_checkpoint_is_refused(capsys, shapes_arguments, tmp_path):
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(b"not a checkpoint")

    assert "damaged" in failure(capsys, ["test", *shapes_arguments, f"--ckpt_path={path}"])


def test_resuming_with_another_fusion_is_refused(capsys, shapes_arguments, trained_run):
    arguments = [*shapes_arguments, f"--config={ROOT}/fusion_plugins/deep.yaml"]

    message = failure(
        capsys, ["fit", *arguments, f"--ckpt_path={trained_run}/checkpoints/last.ckpt"]
    )

    assert "LateFusion" in message
    assert "DeepFusion" in message


def test_the_command_line_runs_as_a_module_and_lists_its_commands():
    done = subprocess.run(
        [sys.executable, "-m", "glip_pl", "--help"], capture_output=True, text=True, check=True
    )

    assert all(command in done.stdout for command in ("fit", "validate", "test", "predict"))
