"""Tune one model in every way, and see what is learned of the target and kept of the source.

    python scripts/compare_tuning.py --weights runs/deep-small-bccd/version_0/checkpoints/last.ckpt

Every way starts from the same weights and has the same processor time, along which its learning
rates fall. A way that is done is not done again, so that the command may be killed and repeated, or
asked for more seeds. `glip compare` takes two of the folders.
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from rich.console import Console
from rich.table import Table

from glip_pl.blending.blend import blend_states
from glip_pl.blending.run import best_alpha
from glip_pl.data import GroundingDataModule
from glip_pl.data.descriptions import build, read_described
from glip_pl.inference.scoring import score_sets
from glip_pl.results import SaveResults
from glip_pl.system.memory import keep_freed_memory
from glip_pl.training.budget import CoreSeconds, core_seconds
from glip_pl.training.from_weights import build_task, open_task, write_checkpoint
from glip_pl.training.optim import OptimizerSettings
from glip_pl.training.task import GroundingTask
from glip_pl.tuning.lora import merge

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SLOW = {"lr": 3e-4, "backbone_lr": 3e-5, "text_lr": 1e-4, "warmup_steps": 30}
FAST = {"lr": 1e-3, "backbone_lr": 1e-3, "text_lr": 1e-3, "warmup_steps": 30}
FROZEN = {"tuning": {"freeze": ["backbone", "text"]}}
# What each way changes of the task.
WAYS: dict[str, dict[str, Any]] = {
    "full": {"optimizer": SLOW},
    "freeze": {"optimizer": SLOW, **FROZEN},
    "linear": {"optimizer": FAST, "tuning": {"mode": "linear"}},
    "prompt": {"optimizer": FAST, "tuning": {"mode": "prompt"}},
    "lora": {"optimizer": FAST, "tuning": {"mode": "lora"}},
    "replay": {"optimizer": SLOW},
    "replay_frozen": {"optimizer": SLOW, **FROZEN},
}
REPLAYED = ("replay", "replay_frozen")


def main() -> None:
    """Tune, test, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="what all ways start from: a .ckpt")
    parser.add_argument("--source", default="bccd", help="what it was trained on")
    parser.add_argument("--target", default="fruits", help="what it is tuned for")
    parser.add_argument("--ways", nargs="+", default=[*WAYS, "blend"], choices=[*WAYS, "blend"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=240, help="of processor time a way")
    parser.add_argument("--short_side", type=int, help="of images, where it is not the YAMLs'")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--output", type=Path, default=Path("runs/compare_tuning"))
    options = parser.parse_args()
    keep_freed_memory()
    for seed in options.seeds:
        done(options, "before", seed, lambda *_: open_task(options.weights))
        for way in options.ways:
            done(options, way, seed, blended if way == "blend" else tuned)
    Console().print(table(options))


def done(options: argparse.Namespace, way: str, seed: int, make: Any) -> None:
    """Make and test one model, unless it was done before."""
    folder = options.output / f"{way}-seed{seed}"
    if (folder / "done.json").is_file():
        return
    seed_everything(seed)
    task = make(options, way, seed)
    write_checkpoint(task, task.model.state_dict(), folder / "tuned.ckpt", like=options.weights)
    scores = {}
    for side in ("target", "source"):
        if side == "source" and way == "prompt":
            task.model.prompt = None  # What it knew is asked without the offsets.
        data = _data(options, getattr(options, side))
        trainer = _trainer(options, folder / side, callbacks=[SaveResults()])
        first, *_ = trainer.test(task, datamodule=data, verbose=False)
        scores[side] = next(value for key, value in first.items() if key.endswith("/map"))
    (folder / "done.json").write_text(json.dumps({"way": way, "seed": seed, **scores}) + "\n")


def tuned(options: argparse.Namespace, way: str, seed: int) -> GroundingTask:
    """Tune for the target by one of `WAYS`."""
    before, changed = open_task(options.weights), dict(WAYS[way])
    changed["optimizer"] = vars(OptimizerSettings(**changed["optimizer"], weight_decay=0.01))
    task = build_task({**before.hparams, **changed})
    task.model.load_state_dict(before.model.state_dict())
    replay = {"sampling": {"replay": {"data": options.source, "share": 0.5}}}
    data = _data(options, options.target, seed=seed, **(replay if way in REPLAYED else {}))
    trainer = _trainer(
        options,
        options.output / f"{way}-seed{seed}" / "fit",
        callbacks=[CoreSeconds(options.seconds, since=core_seconds())],
        max_epochs=-1,
        limit_val_batches=0,
        gradient_clip_val=1.0,
    )
    trainer.fit(task, datamodule=data)
    merge(task.model)
    return task.eval()


def blended(options: argparse.Namespace, _: str, seed: int) -> GroundingTask:
    """Choose between before and full tuning by the validation sets of both."""
    full = options.output / f"full-seed{seed}" / "tuned.ckpt"
    if not full.is_file():
        raise SystemExit("blend needs what full tuning gave; add full to --ways, before blend")
    task, other = open_task(options.weights), open_task(str(full))
    first, second = (
        {name: value.clone() for name, value in t.model.state_dict().items()} for t in (task, other)
    )
    scores = {}
    for alpha in (0.0, *ALPHAS, 1.0):
        task.model.load_state_dict(blend_states(first, second, alpha))
        scores[alpha] = {
            side: next(iter(_first(score_sets(task.model, _data(options, side), "val")).values()))
            for side in (options.source, options.target)
        }
    task.model.load_state_dict(blend_states(first, second, best_alpha(scores)))
    return task


def _first(scores: Mapping[str, dict[str, float]]) -> dict[str, float]:
    return next(iter(scores.values()))


def _data(options: argparse.Namespace, name: str, **more: Any) -> GroundingDataModule:
    """Build the data module of a set, with images of the size that was asked for."""
    given: dict[str, Any] = {**read_described(name)["data"], "num_workers": 0, **more}
    if side := options.short_side:
        size = {"short_sides": [side], "max_side": 2 * side}
        given |= {"train_transform": {**size, "flip": 0.5}, "eval_transform": size}
    return build(GroundingDataModule, given, root=None, origin=name)


def _trainer(options: argparse.Namespace, folder: Path, **more: Any) -> Trainer:
    return Trainer(
        logger=CSVLogger(folder.parent, name=None, version=folder.name),
        precision=options.precision,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        **more,
    )


def table(options: argparse.Namespace) -> Table:
    """AP on both test sets, the share of the source's that is kept, averaged over the seeds."""
    shown = Table(title=f"{options.source} -> {options.target}, {options.seconds:g} core seconds")
    for column in ("way", f"AP {options.target}", f"AP {options.source}", "kept", "seeds"):
        shown.add_column(column)
    rows = [json.loads(file.read_text()) for file in sorted(options.output.glob("*/done.json"))]
    before = [row["source"] for row in rows if row["way"] == "before"]
    for way in dict.fromkeys(row["way"] for row in rows):
        found = [row for row in rows if row["way"] == way]
        target, source = (statistics.mean(r[side] for r in found) for side in ("target", "source"))
        kept = source / statistics.mean(before) if before and statistics.mean(before) else 0.0
        cells = (f"{100 * target:.1f}", f"{100 * source:.1f}", f"{100 * kept:.0f} %")
        shown.add_row(way, *cells, str(len(found)))
    return shown


if __name__ == "__main__":
    main()
