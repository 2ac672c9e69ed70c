"""The smallest run that still draws everything: crops, colours, negatives, captions, dropout."""

import warnings
from functools import partial
from pathlib import Path

import torch
from helpers import write_coco
from pytorch_lightning import Callback, Trainer, seed_everything

from fusion_plugins.query import QueryFusion
from glip_pl.backbones import FPN, TinyBackbone
from glip_pl.data import CategoryDetection, GroundingDataModule, Pipeline
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.text import TinyBert
from glip_pl.training.optim import OptimizerSettings
from glip_pl.training.task import GroundingTask

NAMES = {i: name for i, name in enumerate(("cat", "dog", "bird", "cow", "fox"), start=1)}


def write_set(root: Path, count: int = 10) -> Path:
    """Write `count` images of noise with one box each, to train on and to validate on."""
    boxes = {f"{k}.png": [(1 + k % len(NAMES), (6, 4, 30, 20))] for k in range(count)}
    write_coco(root, boxes, names=NAMES)
    return root


def tiny_data(root: Path, **options: object) -> GroundingDataModule:
    """A data module that draws at random whatever can be drawn."""
    pipeline = Pipeline(short_sides=(32, 40), max_side=64, flip=0.5, crop=0.5, color=0.5)
    train: list[GroundingDataset] = [CategoryDetection("annotations/train.json", max_negatives=3)]
    settings = {
        "train": train,
        "val": {"set": CategoryDetection("annotations/train.json")},
        "test": {},
        "batch_size": 2,
        "train_transform": pipeline,
        "eval_transform": Pipeline(short_sides=(32,), max_side=64),
    }
    return GroundingDataModule(str(root), **(settings | options))  # type: ignore[arg-type]


def tiny_task(**options: object) -> GroundingTask:
    """A model of one layer with dropout."""
    return GroundingTask(
        TinyBackbone(),
        TinyBert(d_text=32),
        fusion=QueryFusion(
            d_model=16, d_text=32, num_layers=1, num_queries=4, num_heads=2, dropout=0.3
        ),
        d_model=16,
        d_text=32,
        neck=partial(FPN, extra_levels=0),
        optimizer=OptimizerSettings(warmup_steps=2),
        **options,  # type: ignore[arg-type]
    )


class Witness(Callback):
    """Remembers where each step stood and the pixels and words of its batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, float, list[list[int]]]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):  # type: ignore[no-untyped-def]
        pixels = float(batch.images.double().sum())
        self.seen.append((trainer.current_epoch, batch_idx, pixels, batch.tokens.ids.tolist()))


def fit(
    root: Path,
    folder: Path,
    *callbacks: Callback,
    ckpt_path: Path | None = None,
    data: dict[str, object] | None = None,
    task: GroundingTask | None = None,
    **options: object,
) -> tuple[Trainer, Witness]:
    """Train in this process; a run starts from the same weights each time."""
    seed_everything(1, verbose=False)
    witness = Witness()
    settings = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "default_root_dir": folder,
        "callbacks": [witness, *callbacks],
        "gradient_clip_val": 1.0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(**(settings | options))  # type: ignore[arg-type]
        trainer.fit(
            task or tiny_task(), datamodule=tiny_data(root, **(data or {})), ckpt_path=ckpt_path
        )
    return trainer, witness


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Weights and optimizer state by name."""
    assert trainer.lightning_module is not None
    state = dict(trainer.lightning_module.state_dict())
    for i, moments in trainer.optimizers[0].state_dict()["state"].items():
        state |= {f"optimizer {i} {name}": value for name, value in moments.items()}
    return state


def assert_equal(one: Trainer, other: Trainer) -> None:
    """Hold two runs to equality of every bit."""
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    unlike = [name for name, value in first.items() if not torch.equal(value, second[name])]
    assert not unlike, f"{len(unlike)} of {len(first)} differ, for example {unlike[:3]}"
    assert one.global_step == other.global_step
