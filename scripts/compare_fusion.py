"""Train late and deep fusion alike on referring phrases of shapes, and compare their Recall@1.

    python scripts/compare_fusion.py --seeds 0 1 2

Both see the same images, prompts, steps and settings; only the fusion plugin differs. The phrases
need relations ("the red circle left of the blue square"), which a region can only answer when it
knows the text. The second column has colour-shape pairs that training never showed.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from glip_pl.commands.grounding_cli import GroundingCLI

ROOT = Path(__file__).parent.parent
FUSIONS = ("late", "deep")
SETS = ("referring", "unseen")


def main() -> None:
    """Train, test, print a table and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="epochs, where not those of the data's YAML")
    parser.add_argument("--output", type=Path, default=Path("runs/compare_fusion.json"))
    options = parser.parse_args()
    figures = {
        fusion: [run(fusion, seed, options.epochs) for seed in options.seeds] for fusion in FUSIONS
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"seeds": options.seeds, **figures}, indent=2) + "\n")
    Console().print(table(figures))


def run(fusion: str, seed: int, epochs: int | None) -> dict[str, float]:
    """Train one model and test its last state; no choice is made by looking at a score."""
    configs = ("src/glip_pl/configs/base.yaml", "src/glip_pl/configs/model/tiny.yaml")
    data = ("data/shapes_referring.yaml", f"fusion_plugins/{fusion}.yaml")
    arguments = [f"--config={ROOT / path}" for path in (*configs, *data)]
    arguments += [
        f"--seed_everything={seed}",
        f"--trainer.logger.init_args.name=compare-{fusion}-{seed}",
        "--trainer.check_val_every_n_epoch=10000",
    ]
    if epochs:
        arguments.append(f"--trainer.max_epochs={epochs}")
    start = time.perf_counter()
    cli = GroundingCLI(["fit", *arguments])
    seconds = time.perf_counter() - start
    cli.trainer.test(cli.model, datamodule=cli.datamodule)
    recall = {name: cli.model.results[f"test/{name}/recall@1"] for name in SETS}
    return {**recall, "seconds": round(seconds, 1)}


def table(figures: dict[str, list[dict[str, float]]]) -> Table:
    """Mean and range over the seeds, and how far deep is ahead."""
    shown = Table(title="Recall@1 on referring phrases")
    for column in ("fusion", *SETS, "seconds"):
        shown.add_column(column)
    for fusion, runs in figures.items():
        cells = []
        for name in SETS:
            values = [run[name] for run in runs]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        shown.add_row(fusion, *cells, f"{statistics.mean(run['seconds'] for run in runs):.0f}")
    ahead = [
        statistics.mean(run[name] for run in figures["deep"])
        - statistics.mean(run[name] for run in figures["late"])
        for name in SETS
    ]
    shown.add_row("deep - late", *(f"{value:+.3f}" for value in ahead), "")
    return shown


if __name__ == "__main__":
    main()
