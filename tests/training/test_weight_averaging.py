import warnings

import pytest
import torch
from helpers import ROOT
from shapes_run import arguments_for
from shared import shared

from glip_pl.cli import main
from glip_pl.training.task import GroundingTask


def averaging(arguments):
    """Options of a closed-set detector whose weights are averaged over two steps."""
    return [
        *arguments,
        f"--config={ROOT}/fusion_plugins/closed_set.yaml",
        "--trainer.callbacks+=pytorch_lightning.callbacks.EMAWeightAveraging",
        "--trainer.callbacks.init_args.decay=0.5",
        "--trainer.limit_val_batches=1",
    ]


@pytest.fixture
def averaged(shapes_root, tmp_path_factory):
    """The last checkpoint of such a run."""

    def train(folder):
        main(["fit", *averaging(arguments_for(shapes_root, folder))])

    folder = shared(tmp_path_factory, "averaged", train)
    return folder / "runs/run/version_0/checkpoints/last.ckpt"


def test_a_closed_set_detector_averages_the_vectors_of_its_names(averaged):
    saved = torch.load(averaged, weights_only=True)

    name = "model.text.embedding.weight"
    assert len(saved["state_dict"][name]) == len(saved["class_names"]) > 0
    assert not torch.equal(saved["state_dict"][name], saved["current_model_state"][name])


def test_a_checkpoint_notes_the_files_that_it_was_trained_on(averaged):
    (noted,) = torch.load(averaged, weights_only=True)["trained_on"]

    assert noted.endswith("/annotations/train.json")


def test_an_averaged_closed_set_detector_loads_with_its_names(averaged):
    task = GroundingTask.load_from_checkpoint(averaged, map_location="cpu", weights_only=True)

    assert task.model.text.names == task.class_names


def test_an_averaged_closed_set_detector_resumes(averaged, shapes_arguments, tmp_path):
    resumed = [f"--ckpt_path={averaged}", "--trainer.max_epochs=2"]
    main(["fit", *averaging(shapes_arguments), *resumed])

    last = tmp_path / "runs/run/version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["averaging_state"]["n_averaged"] == 4


def test_averaging_warns_of_nothing(shapes_arguments):
    with warnings.catch_warnings(record=True) as caught:
        main(["fit", *averaging(shapes_arguments), "--trainer.max_steps=1"])

    assert not [w for w in caught if "WeightAveraging" in str(w.message)]
