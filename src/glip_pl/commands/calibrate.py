"""``glip calibrate``: a threshold for every name, stored with the weights."""

from pathlib import Path
from typing import Literal

from glip_pl.commands.parser import run_function
from glip_pl.system.screen import next_prediction, write


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(calibrate, args)


def calibrate(
    weights: str,
    data: str,
    *,
    split: Literal["val", "test"] = "val",
    root: str | None = None,
    precision: float | None = None,
    iou: float = 0.5,
    output: Path = Path("runs/calibrate"),
) -> None:
    """Find the best threshold of every name on a validation set, and store it with the weights.

    `glip predict` and the Python API then use it unless they are told another one. Also fits a
    temperature under which scores are probabilities, and shows how far they were from it.

    Args:
        weights: A .ckpt of `glip fit` or a folder of weights; it gains the thresholds.
        data: A YAML such as data/bccd.yaml, the config.yaml of a run, or a name such as bccd.
        split: Which sets of it; the first one counts.
        root: Folder of the data, where it is not the one of the YAML.
        precision: Choose thresholds at which such a share of the boxes is right, not the best F1.
        iou: Overlap from which on a box counts as right.
        output: Folder for calibration.json and reliability.png.
    """
    from rich.console import Console
    from rich.table import Table

    from glip_pl.calibration.run import calibrate_weights

    found = calibrate_weights(
        weights, data, split=split, root=root, precision=precision, iou=iou, output=output
    )
    write(f"thresholds of {weights}")
    table = Table()
    for column in ("name", "threshold", "precision", "recall", "F1"):
        table.add_column(column)
    for name, t in found.thresholds.items():
        table.add_row(name, *(f"{v:.3f}" for v in (t.value, t.precision, t.recall, t.f1)))
    console = Console()
    if found.thresholds:
        console.print(table)
    if found.unknown:
        console.print(
            f"no threshold for {', '.join(found.unknown)}: no true box of theirs was there or "
            "found; they take the default",
            highlight=False,
        )
    console.print(
        f"expected calibration error {found.error[0]:.3f}, with temperature "
        f"{found.temperature.temperature:.2f} and shift {found.temperature.shift:+.2f} "
        f"{found.error[1]:.3f}; see {output}/reliability.png",
        highlight=False,
    )
    if found.absence is not None:
        console.print(f"N-acc {found.absence:.3f}: absent names that stay unseen", highlight=False)
    write(next_prediction(weights))
