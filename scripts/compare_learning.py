"""Train detectors on several sets for the same processor time, and see which learned most.

    python scripts/compare_learning.py --sets bccd playing_cards --seconds 1000 --seeds 0 1 2

A detector is the name of a fusion (MODEL=small) or `fcos`, torchvision's (scripts/fcos.py). Runs go
one after the other, each a command of its own on one core; its time is that of the whole training
command. The last state is tested. A run that is done is not done again, so that the command may be
killed and repeated, or asked for more. Nothing else should run beside it.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from glip_pl.data.descriptions import read_described
from glip_pl.results.comparison import compare_runs

ROOT = Path(__file__).parent.parent
PEER = "fcos"


def main() -> None:
    """Train, test and print the table, which lies as table.json beside the runs, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", required=True, help="of data/, at their places there")
    parser.add_argument("--detectors", nargs="+", default=[PEER, "closed_set", "late", "deep"])
    parser.add_argument("--seconds", type=float, default=1000, help="of processor time a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--precision", default="32-true", help="bf16-mixed where there is a unit")
    parser.add_argument(
        "--more", action="append", default=[], help="of glip fit, --more=--OPTION=VALUE, each one"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/compare_learning"))
    options = parser.parse_args()
    options.output = options.output.absolute()
    for data in options.sets:
        if not (root := _root(data)).is_dir():
            parser.error(f"{data} is not at {str(root)!r}; put it there, or leave it out of --sets")
    # Seeds outermost: what breaks off has compared everything once.
    for seed, data, detector in product(options.seeds, options.sets, options.detectors):
        folder = _folder(options, data, detector, seed)
        if not (folder / "results.json").is_file():
            run(options, data, detector, seed)
    rows = [
        row(options, data, detector) for data, detector in product(options.sets, options.detectors)
    ]
    (options.output / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    Console().print(table(options, rows))


def run(options: argparse.Namespace, data: str, detector: str, seed: int) -> None:
    """Train one detector and test its last state; both write into the folder of the run."""
    folder = _folder(options, data, detector, seed)
    start, root = [sys.executable, "-m", "glip_pl"], str(_root(data))
    if detector == PEER:
        command = [sys.executable, str(ROOT / "scripts/fcos.py"), f"--data={data}"]
        command += [f"--root={root}", f"--seconds={options.seconds}", f"--seed={seed}"]
        command += [f"--precision={options.precision}", f"--output={folder}"]
        return _call(command)
    fitted, tested = (folder.with_name(f"{folder.name}-{step}") for step in ("fit", "test"))
    for begun in (fitted, tested):  # By a command that was killed: its time is lost.
        shutil.rmtree(begun, ignore_errors=True)
    fit = [
        *(*start, "fit", "--model=small", f"--data={data}", f"--fusion={detector}"),
        *(f"--data.root={root}", f"--seed_everything={seed}", "--data.num_workers=0"),
        *("--trainer.accelerator=cpu", f"--trainer.precision={options.precision}"),
        *("--trainer.max_epochs=-1", "--trainer.limit_val_batches=0"),
        "--trainer.callbacks+=glip_pl.training.budget.CoreSeconds",
        f"--trainer.callbacks.seconds={options.seconds}",
        *options.more,
        *_logged_at(fitted),
    ]
    _call(fit)
    (last,) = fitted.glob("*/checkpoints/last.ckpt")
    test = [*start, "test", f"--ckpt_path={last}", f"--data={data}", f"--data.root={root}"]
    _call([*test, "--data.num_workers=0", "--trainer.accelerator=cpu", *_logged_at(tested)])
    (found,) = tested.glob("*/results.json")
    found.parent.rename(folder)


def row(options: argparse.Namespace, data: str, detector: str) -> dict[str, Any]:
    """AP of every seed, and how far it lies from the peer's, with 95 % intervals over images."""
    found: dict[str, Any] = {"set": data, "detector": detector, "seconds": options.seconds}
    runs = {seed: _folder(options, data, detector, seed) for seed in options.seeds}
    metrics = [json.loads((run / "results.json").read_text())["metrics"] for run in runs.values()]
    for name, key in (("AP", "map"), ("AP50", "map_50")):
        found[name] = [metric[f"test/{data}/{key}"] for metric in metrics]
    if PEER in options.detectors and detector != PEER:
        ahead = []
        for seed, folder in runs.items():
            with contextlib.redirect_stdout(io.StringIO()):
                peer = str(_folder(options, data, PEER, seed))
                score = compare_runs(peer, str(folder), anyway=True)[data].scores[0]
            ahead.append([score.difference, score.low, score.high])
        found["ahead of the peer"] = ahead
    return found


def table(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Table:
    """Show the means over seeds, and the intervals of each seed."""
    title = f"test split, {options.seconds:g} core seconds, seeds {options.seeds}"
    shown = Table(title=title)
    for column in ("set", "detector", "AP", "AP50", f"AP - {PEER}'s, 95 %"):
        shown.add_column(column)
    for found in rows:
        means = (f"{statistics.mean(found[name]):.3f}" for name in ("AP", "AP50"))
        ahead = found.get("ahead of the peer", [])
        spans = "\n".join(f"{d:+.3f} ({low:+.3f} to {high:+.3f})" for d, low, high in ahead)
        shown.add_row(found["set"], found["detector"], *means, spans)
    return shown


def _call(command: list[str]) -> None:
    """Run a command on one core; its output is ours.

    Raises:
        SystemExit: It failed.
    """
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if subprocess.run(command, env={**os.environ, **one}, cwd=ROOT).returncode:
        raise SystemExit(f"failed: {' '.join(command)}; repeat this command to go on from there")


def _logged_at(folder: Path) -> list[str]:
    """Return the options that let a command write into a folder."""
    logger = "--trainer.logger.init_args"
    return [f"{logger}.save_dir={folder.parent}", f"{logger}.name={folder.name}"]


def _folder(options: argparse.Namespace, data: str, detector: str, seed: int) -> Path:
    folder: Path = options.output / data / f"{detector}-seed{seed}"
    return folder


def _root(data: str) -> Path:
    return ROOT / str(read_described(data)["data"]["root"])


if __name__ == "__main__":
    main()
