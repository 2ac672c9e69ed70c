"""Faults of files of weights: damaged, of another model, or made to do harm."""

import os
from pathlib import Path
from typing import Any

import torch

from faults.bench import Bench, Ended, expect, fault


@fault("a checkpoint with one NaN among its weights, for predict")
def nan_weights(bench: Bench) -> str:
    """Use what another program has spoiled."""
    found = torch.load(bench.trained, weights_only=True)
    found["state_dict"]["model.head.token_bias"][0] = torch.nan
    path = bench.fresh() / "nan.ckpt"
    torch.save(found, path)
    return predict(bench, path).refused("not finite")


@fault("a checkpoint without one tensor, for fit --ckpt_path")
def missing_tensor_on_resume(bench: Bench) -> str:
    """Resume from what is not whole."""
    return bench.glip(*bench.fit(bench.fresh()), f"--ckpt_path={_lacking(bench)}").refused(
        "token_bias"
    )


@fault("a checkpoint without one tensor, for predict")
def missing_tensor(bench: Bench) -> str:
    """Detect with what is not whole."""
    return predict(bench, _lacking(bench)).refused("token_bias")


def _lacking(bench: Bench) -> Path:
    found = torch.load(bench.trained, weights_only=True)
    del found["state_dict"]["model.head.token_bias"]
    path = bench.fresh() / "lacking.ckpt"
    torch.save(found, path)
    return path


@fault("the first half of a checkpoint, for predict and for a resume")
def half_a_checkpoint(bench: Bench) -> str:
    """Use what was cut off."""
    content = bench.trained.read_bytes()
    path = bench.fresh() / "half.ckpt"
    path.write_bytes(content[: len(content) // 2])
    predict(bench, path).refused("half.ckpt")
    return bench.glip(*bench.fit(bench.fresh()), f"--ckpt_path={path}").refused("half.ckpt")


@fault("a checkpoint whose backbone is named os.system")
def poisoned_class(bench: Bench) -> str:
    """Name what is no part of a model."""
    found = torch.load(bench.trained, weights_only=True)
    found["hyper_parameters"]["backbone"]["class_path"] = "os.system"
    path = bench.fresh() / "poisoned.ckpt"
    torch.save(found, path)
    return predict(bench, path).refused(r"os\.system")


class _Poison:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch poisoned",)


@fault("a checkpoint that runs a command when it is unpickled")
def poisoned_pickle(bench: Bench) -> str:
    """Hide code in a file."""
    path, place = bench.fresh() / "code.ckpt", bench.fresh()
    torch.save({"state_dict": {}, "code": _Poison()}, path)
    ended = predict(bench, path, cwd=place)
    expect(not list(place.rglob("poisoned")), "the command ran")
    expect("weights_only=False" not in ended.said, ended.said)
    return ended.refused()


def predict(bench: Bench, path: Path, *options: str, **process: Any) -> Ended:
    """Detect cats in a picture of the set, where nothing else is asked for."""
    asked = {option.partition("=")[0] for option in options}
    image, prompt = f"--image={bench.data / 'images/0.png'}", "--prompt=cat."
    defaults = [o for o in (image, prompt) if o.partition("=")[0] not in asked]
    return bench.glip("predict", f"--weights={path}", *defaults, *options, **process)
