"""One model on one data set of ODinW: fine-tuned where that is asked for, and tested.

Every step is a command of its own process with a configuration of its own, kept beside what it
wrote, so that it can be repeated by hand and uses all devices.
"""

import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from glip_pl.odinw.locate import Place
from glip_pl.weights import read_weights
from glip_pl.weights.run_checkpoint import read_checkpoint

CONFIGS = Path(__file__).parents[1] / "configs"
# Passes over the training images per epoch of official GLIP; of a full set and of other shots, 1.
_COPIES = {1: 8, 3: 4, 5: 2}
# Rates and schedule are the recipe's, not those of the run that the model comes from.
_NOT_OF_THE_MODEL = ("optimizer", "schedule", "_instantiator")


class StartFrom(Callback):
    """Load the weights of a checkpoint at the start of a training, and nothing else.

    Args:
        ckpt_path: A checkpoint that `glip fit` wrote of the same model.
    """

    def __init__(self, ckpt_path: str) -> None:
        self.ckpt_path = ckpt_path

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the weights."""
        if stage == "fit":
            pl_module.load_state_dict(read_checkpoint(self.ckpt_path)["state_dict"])


class Run:
    """One model with one number of shots, on any data set."""

    def __init__(
        self,
        weights: str | None,
        ckpt_path: str | None,
        shots: int | Literal["full"],
        seed: int,
        output: Path,
        options: list[str],
    ) -> None:
        self.shots, self.seed, self.options = shots, seed, options
        self.model = f"--weights={weights}" if weights else f"--ckpt_path={ckpt_path}"
        self.weights, self.ckpt_path = weights, ckpt_path
        self.version = {0: "zero_shot", "full": "full"}.get(shots, f"shot{shots}_seed{seed}")
        self.folder = output / self.version
        sizes: dict[str, int] = {}
        if ckpt_path is not None:
            sizes = read_checkpoint(ckpt_path).get("evaluation", {})
        self.short, self.longest = sizes.get("short_side", 800), sizes.get("max_side", 1333)

    def __call__(self, place: Place) -> dict[str, float]:
        """Fine-tune where that is asked for, test, and give the AP values."""
        name, model = place.entry.name, self.model
        best = self.folder / name / "fit/checkpoints/best.ckpt"
        results_file = self.folder / name / "test/results.json"
        for earlier in (best, results_file):  # Of another run, they would pass for this one's.
            earlier.unlink(missing_ok=True)
        if self.shots:
            start = [self.model] if self.weights else []
            self._glip("fit", name, self._fit_config(place), start)
            model = f"--ckpt_path={best}"
        test = self._config(place, "test", test={name: place.split(place.entry.test)})
        self._glip("test", name, test, [model])
        results = json.loads(results_file.read_text())
        found = {
            key.removeprefix(f"test/{name}/"): value
            for key, value in results["metrics"].items()
            if key.startswith(f"test/{name}/map")
        }
        if found["map"] is None:
            raise ValueError(f"the test split of {str(place.root)!r} has no box; AP needs some")
        return found

    def _glip(self, command: str, name: str, config: dict[str, Any], model: list[str]) -> None:
        """Run a command of its own process, with the configuration kept beside its results."""
        path = self.folder / name / f"{command}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        recipe = [f"--config={CONFIGS / 'base.yaml'}", f"--config={path}"]
        done = subprocess.run(
            [sys.executable, "-m", "glip_pl", command, *recipe, *model, *self.options], check=False
        )
        if done.returncode:
            raise ValueError(
                f"glip {command} failed on {name}, see above; once that is mended, run glip odinw "
                f"again, for this set alone with --sets={name}"
            )

    def _config(self, place: Place, command: str, **sets: Any) -> dict[str, Any]:
        """Return which data are read and where results go."""
        logger = {"save_dir": str(self.folder), "name": place.entry.name, "version": command}
        return {
            "trainer": {"logger": {"init_args": logger}},
            "data": {
                "root": str(place.root),
                **{"train": [], "val": {}, "test": {}, **sets},
                "eval_transform": {"short_sides": [self.short], "max_side": self.longest},
            },
        }

    def _fit_config(self, place: Place) -> dict[str, Any]:
        """Describe a fine-tuning: official GLIP's recipe for these sets, from this model."""
        shots = None if self.shots == "full" else self.shots
        config = self._config(
            place,
            "fit",
            train=[place.split("train", shots=shots, seed=self.seed)],
            val={place.entry.name: place.split("valid", shots=shots, seed=self.seed)},
        )
        recipe = yaml.safe_load((CONFIGS / "recipe/finetune_odinw.yaml").read_text())
        described = self._described()
        frozen = recipe["model"].pop("backbone")["init_args"]
        backbone = described["backbone"]
        module, _, name = backbone["class_path"].rpartition(".")
        if "freeze" in inspect.signature(getattr(import_module(module), name)).parameters:
            described["backbone"] = {**backbone, "init_args": backbone["init_args"] | frozen}
        copies = 1 if shots is None else _COPIES.get(shots, 1)
        callbacks = recipe["trainer"].pop("callbacks+")
        if shots is None:
            callbacks[0]["init_args"]["patience"] = 4
            recipe["model"]["schedule"]["init_args"]["patience"] = 2
        if self.ckpt_path is not None:
            start = {"ckpt_path": self.ckpt_path}
            callbacks.append({"class_path": "glip_pl.odinw.run.StartFrom", "init_args": start})
        return {
            "trainer": {
                **recipe["trainer"],
                **config["trainer"],
                "max_epochs": recipe["trainer"]["max_epochs"] * copies,
                "check_val_every_n_epoch": copies,
                "callbacks+": callbacks,
            },
            "model": {**described, **recipe["model"]},
            "data": {
                **recipe["data"],
                **config["data"],
                "train_transform": {
                    **recipe["data"]["train_transform"],
                    # GLIP's sizes of 480 to 800, for a model of any size.
                    "short_sides": [self.short * tenths // 10 for tenths in range(6, 11)],
                    "max_side": self.longest,
                },
            },
        }

    def _described(self) -> dict[str, Any]:
        """Return the arguments of the model."""
        if self.weights is not None:
            described = read_weights(self.weights).hyper_parameters
        else:
            assert self.ckpt_path is not None
            described = read_checkpoint(self.ckpt_path)["hyper_parameters"]
        return {key: value for key, value in described.items() if key not in _NOT_OF_THE_MODEL}
