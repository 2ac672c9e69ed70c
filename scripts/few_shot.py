"""Train late and deep fusion on a few images of each category, and test them: a table of AP.

    python scripts/few_shot.py --sets bccd aquarium pothole --shots 10 3 1

Every model starts from MODEL=small, pretrained parts that have never seen a box, and takes the same
number of steps whatever the shots. Its last state is tested; no choice is made by a score.
"""

import argparse
import json
import math
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from glip_pl.commands.grounding_cli import GroundingCLI
from glip_pl.data import CategoryDetection

ROOT = Path(__file__).parent.parent
BATCH = 4


def main() -> None:
    """Train, test, print a table and save the figures with their manifests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = sorted(path.stem for path in (ROOT / "data").glob("*.yaml"))
    default = ["bccd", "aquarium", "pothole"]
    parser.add_argument("--sets", nargs="+", choices=names, metavar="SET", default=default)
    parser.add_argument("--shots", type=int, nargs="+", default=[10, 3, 1])
    parser.add_argument("--fusions", nargs="+", default=["late", "deep"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3], help="which images these are")
    parser.add_argument("--steps", type=int, default=100, help=f"of {BATCH} images each")
    parser.add_argument("--output", type=Path, default=Path("runs/few_shot"))
    options = parser.parse_args()
    for data in options.sets:
        if [e["class_path"] for e in _described(data)["train"]] != [
            "glip_pl.data.CategoryDetection"
        ]:
            parser.error(f"{data} is no single detection set; choose for example bccd")
        if not (root := ROOT / _described(data)["root"]).is_dir():
            parser.error(f"{data} is not at {str(root)!r}; put it there, or leave it out of --sets")
    options.output.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    for seed, shots, data, fusion in product(
        options.seeds, options.shots, options.sets, options.fusions
    ):
        runs.append(run(data, fusion, shots, seed, options.steps, options.output))
        # After each run, so that what breaks off has not been for nothing.
        (options.output / "few_shot.json").write_text(json.dumps(record(runs), indent=1) + "\n")
    Console().print(table(runs))


def run(data: str, fusion: str, shots: int, seed: int, steps: int, output: Path) -> dict[str, Any]:
    """Train one model and test its last state."""
    described = _described(data)
    (entry,) = described["train"]
    entry["init_args"] |= {"shots": shots, "shot_seed": seed}
    chosen = CategoryDetection(**entry["init_args"])
    chosen.load(ROOT / described["root"])
    # Copies make one epoch of the whole training: loaders start once, and one state is saved.
    copies = math.ceil(steps * BATCH / len(chosen.records))
    name = f"{data}-{fusion}-shot{shots}-seed{seed}"
    override = output / f"{name}.yaml"
    override.write_text(yaml.safe_dump({"data": {"train": [entry] * copies}}, sort_keys=False))
    configs = ("src/glip_pl/configs/base.yaml", "src/glip_pl/configs/model/small.yaml")
    start = time.perf_counter()
    cli = GroundingCLI(
        [
            "fit",
            *(f"--config={ROOT / path}" for path in configs),
            f"--config={ROOT / f'data/{data}.yaml'}",
            f"--config={ROOT / f'fusion_plugins/{fusion}.yaml'}",
            f"--config={override}",
            f"--data.root={ROOT / described['root']}",
            f"--seed_everything={seed}",
            f"--data.batch_size={BATCH}",
            "--trainer.precision=bf16-mixed",
            "--trainer.max_epochs=1",
            f"--trainer.max_steps={steps}",
            "--trainer.limit_val_batches=0",
            f"--trainer.logger.init_args.save_dir={output}",
            f"--trainer.logger.init_args.name={name}",
        ]
    )
    seconds = time.perf_counter() - start
    cli.trainer.test(cli.model, datamodule=cli.datamodule)
    assert cli.trainer.log_dir is not None
    results = json.loads((Path(cli.trainer.log_dir) / "results.json").read_text())
    return {
        **{"set": data, "fusion": fusion, "shots": shots, "seed": seed},
        **{"images": len(chosen), "seconds": round(seconds, 1), "metrics": results["metrics"]},
        # What it was configured with is what this script says.
        "manifest": {k: v for k, v in results["manifest"].items() if k != "configuration"},
    }


def _described(data: str) -> dict[str, Any]:
    """Read the description of a data set; its root is relative to the project."""
    described: dict[str, Any] = yaml.safe_load((ROOT / f"data/{data}.yaml").read_text())["data"]
    return described


def record(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the runs; what the manifests of all have in common is said once."""
    manifests = [run["manifest"] for run in runs]
    shared = {k: v for k, v in manifests[0].items() if all(m.get(k) == v for m in manifests)}
    rest = [{k: v for k, v in m.items() if k not in shared} for m in manifests]
    listed = [{**run, "manifest": own} for run, own in zip(runs, rest, strict=True)]
    return {"manifest": shared, "runs": listed}


def table(runs: list[dict[str, Any]]) -> Table:
    """AP and AP50 of every set, with shots as columns, averaged over the seeds."""
    columns = sorted({run["shots"] for run in runs})
    shown = Table(title="AP / AP50 on the test split, per cent")
    for column in ("set", "fusion", *(f"{shots}-shot" for shots in columns)):
        shown.add_column(column)
    for data, fusion in dict.fromkeys((run["set"], run["fusion"]) for run in runs):
        cells = []
        for shots in columns:
            found = [
                run["metrics"]
                for run in runs
                if (run["set"], run["fusion"], run["shots"]) == (data, fusion, shots)
            ]
            means = [
                100 * statistics.mean(metrics[f"test/{data}/{key}"] for metrics in found)
                for key in ("map", "map_50")
                if found
            ]
            cells.append(" / ".join(f"{mean:.1f}" for mean in means))
        shown.add_row(data, fusion, *cells)
    return shown


if __name__ == "__main__":
    main()
