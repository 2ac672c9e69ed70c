"""``glip audit``: how much hangs on the way a prompt is written."""

from pathlib import Path
from typing import Literal

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(audit, args)


def audit(
    weights: str,
    data: str,
    *,
    split: Literal["val", "test"] = "val",
    root: str | None = None,
    orders: int = 3,
    distractors: list[str] | None = None,
    images: int | None = None,
    output: Path = Path("runs/audit.json"),
) -> None:
    """Write the names of a set in other orders, as plurals, with articles and among others.

    Reports AP of every way, its spread, and the share of true boxes whose best name flips; and what
    all ways together reach, each image encoded once.

    Args:
        weights: A .ckpt, a folder of weights, an official file or a published name.
        data: A YAML such as data/bccd.yaml, the config.yaml of a run, or a name such as bccd.
        split: Which sets of it; the first one counts.
        root: Folder of the data, where it is not the one of the YAML.
        orders: Random orders to try.
        distractors: Names that no image shows, to stand among the others.
        images: Look at so many images only.
        output: JSON file for all figures.
    """
    from rich.console import Console
    from rich.table import Table

    from glip_pl.audit.run import DISTRACTORS, audit_weights

    record = audit_weights(
        weights,
        data,
        split=split,
        root=root,
        orders=orders,
        distractors=DISTRACTORS if distractors is None else distractors,
        images=images,
        output=output,
    )
    table = Table(title=f"{record['set']}: {record['images']} images")
    for column in ("prompt", "AP", "flips"):
        table.add_column(column)
    for name, ap in record["ap"].items():
        table.add_row(name, f"{ap:.3f}", f"{record['flips'][name]:.1%}")
    console = Console()
    console.print(table)
    worst = sorted(record["classes"].items(), key=lambda item: -item[1]["spread"])[:3]
    told = ", ".join(f"{name} {of['spread']:.3f}" for name, of in worst)
    console.print(
        f"AP spreads by {record['spread']:.3f}; most of all {told}; see {output}", highlight=False
    )
