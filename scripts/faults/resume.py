"""Kill and resume: a run that was killed at many steps equals one that never stopped."""

import hashlib
import os
import random
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from faults.bench import Bench, expect, fault, run_together
from faults.made_up import write_set
from fusion_plugins.query import QueryFusion
from glip_pl.backbones import FPN, TinyBackbone
from glip_pl.data import CategoryDetection, GroundingDataModule, Pipeline, Sampling
from glip_pl.data.formats.webdataset.webdataset import WebDatasetShards
from glip_pl.data.sources import read_split
from glip_pl.text import TinyBert
from glip_pl.training.checkpoint_io import SafeCheckpointIO
from glip_pl.training.checkpoints import LastCheckpoint
from glip_pl.training.optim import OptimizerSettings
from glip_pl.training.task import GroundingTask

KILLS = 10
IMAGES, BATCH, EPOCHS = 40, 2, 2


@dataclass(frozen=True)
class Setting:
    """How a run is done.

    Attributes:
        root: The data.
        workers: Loader processes of each process.
        processes: Processes that train together, by gloo.
        stream: Whether shards are read from front to back.
    """

    root: Path
    workers: int = 0
    processes: int = 1
    stream: bool = False


def killed_and_resumed(setting: Setting, folder: Path, kills: int = KILLS) -> str:
    """Compare a run with one that is killed at so many random steps, and return what was found."""
    whole, again = folder / "whole", folder / "again"
    _train(setting, whole, kill_at=None)
    steps = torch.load(whole / "last.ckpt", weights_only=True)["global_step"]
    drawn = random.Random(str(setting)).sample(range(1, steps), min(kills, steps - 1))
    for step in sorted(drawn):
        _train(setting, again, kill_at=step)
    _train(setting, again, kill_at=None)
    expect(_state(whole) == _state(again), "weights, optimizer or counters differ")
    for rank in range(setting.processes):
        seen, seen_again = (_seen(place, rank) for place in (whole, again))
        expect(seen == seen_again, f"process {rank} saw other batches: {seen} and {seen_again}")
    return f"killed at {len(drawn)} of {steps} steps; weights, optimizer and batches bit-equal"


def _train(setting: Setting, folder: Path, kill_at: int | None) -> None:
    """Train until the end, or until one of the processes is killed before a step."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    victim = random.Random(kill_at).randrange(setting.processes)

    def process(rank: int) -> Callable[[], None]:
        def train() -> None:
            if setting.processes > 1:
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
                os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0")
                os.environ.update(WORLD_SIZE=str(setting.processes))
            _fit(setting, folder, rank, kill_at if rank == victim else None)

        return train

    ended = run_together([process(rank) for rank in range(setting.processes)], seconds=300)
    if kill_at is None:
        expect(all(one.status == 0 for one in ended), str(ended))
    else:
        expect(ended[victim].status == -signal.SIGKILL, str(ended))


def _fit(setting: Setting, folder: Path, rank: int, kill_at: int | None) -> None:
    """Train in this process, from the last checkpoint if there is one."""
    import warnings

    from pytorch_lightning import Callback, Trainer, seed_everything
    from pytorch_lightning.strategies import DDPStrategy

    warnings.simplefilter("ignore")
    seed_everything(1, verbose=False)

    class Witness(Callback):
        def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, index: int) -> None:
            if trainer.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            digest = hashlib.blake2b(batch.images.numpy().tobytes(), digest_size=8)
            digest.update(batch.tokens.ids.numpy().tobytes())
            with (folder / f"seen{rank}").open("a") as file:
                file.write(f"{trainer.global_step} {trainer.current_epoch} {digest.hexdigest()}\n")

    shared = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
    last = folder / "last.ckpt"
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=setting.processes,
        strategy="auto" if setting.processes == 1 else shared,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=2,
        use_distributed_sampler=False,
        gradient_clip_val=1.0,
        default_root_dir=folder,
        plugins=[SafeCheckpointIO()],
        callbacks=[Witness(), LastCheckpoint(str(folder), every_n_steps=1)],
    )
    trainer.fit(_task(), datamodule=_data(setting), ckpt_path=str(last) if last.exists() else None)


def _task() -> GroundingTask:
    """Make a model of one layer that draws: dropout."""
    fusion = QueryFusion(
        d_model=16, d_text=32, num_layers=1, num_queries=4, num_heads=2, dropout=0.3
    )
    return GroundingTask(
        TinyBackbone(),
        TinyBert(d_text=32),
        fusion=fusion,
        d_model=16,
        d_text=32,
        neck=partial(FPN, extra_levels=0),
        optimizer=OptimizerSettings(warmup_steps=2),
    )


def _data(setting: Setting) -> GroundingDataModule:
    """Make data that draw: scale, crop, flip, colour, negatives."""
    whole, shards = "annotations/train.json", "shards"
    train = CategoryDetection(
        shards if setting.stream else whole,
        split="train" if setting.stream else None,
        max_negatives=3,
    )
    return GroundingDataModule(
        str(setting.root),
        [train],
        val={"set": CategoryDetection("annotations/val.json")},
        test={},
        batch_size=BATCH,
        sampling=Sampling(stream=setting.stream),
        num_workers=setting.workers,
        train_transform=Pipeline(short_sides=(32, 40), max_side=64, flip=0.5, crop=0.5, color=0.5),
        eval_transform=Pipeline(short_sides=(32,), max_side=64),
    )


def _state(folder: Path) -> dict[str, str]:
    """Digest all that a checkpoint holds of weights, optimizer, schedule and counters."""
    found = torch.load(folder / "last.ckpt", weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")
    return {key: hashlib.blake2b(_bytes(found[key])).hexdigest() for key in kept}


def _bytes(value: object) -> bytes:
    """Write out nested values, tensors by their bits."""
    if isinstance(value, torch.Tensor):
        return repr((value.dtype, value.shape)).encode() + value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(repr(k).encode() + _bytes(value[k]) for k in sorted(value, key=repr))
    if isinstance(value, list | tuple):
        return b"".join(_bytes(part) for part in value)
    return repr(value).encode()


def _seen(folder: Path, rank: int) -> dict[str, set[str]]:
    """Return what each step saw; one that was killed saw it twice."""
    seen: dict[str, set[str]] = {}
    for line in (folder / f"seen{rank}").read_text().splitlines():
        step, _, rest = line.partition(" ")
        seen.setdefault(step, set()).add(rest)
    return seen


def _register(workers: int, processes: int, *, stream: bool) -> None:
    """Add a fault for one setting."""

    def inject(bench: Bench) -> str:
        root = write_set(bench.fresh(), IMAGES)
        if stream:
            write_shards(root)
        setting = Setting(root, workers, processes, stream)
        return killed_and_resumed(setting, bench.fresh())

    inject.__name__ = (
        f"resume_{'stream' if stream else 'map'}_{workers}_workers_{processes}_processes"
    )
    fault(f"SIGKILL before each of {KILLS} random steps, resumed from last.ckpt each time")(inject)


def write_shards(root: Path) -> None:
    """Write the training images of a set as shards of about four images each."""
    sets = {"train": read_split(root / "annotations/train.json", format=None, split=None)}
    WebDatasetShards(max_bytes=30_000).write(sets, root / "shards")


for _stream in (False, True):
    for _processes in (1, 2):
        for _workers in (0, 2):
            _register(_workers, _processes, stream=_stream)
