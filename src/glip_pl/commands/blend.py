"""``glip blend``: the weights between two models, and what they are worth."""

from pathlib import Path
from typing import Literal

from glip_pl.commands.parser import run_function
from glip_pl.system.screen import next_command, next_prediction, write


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(blend, args, positional=True)


def blend(
    first: str,
    second: str,
    *,
    alpha: list[float],
    sets: list[str] | None = None,
    split: Literal["val", "test"] = "val",
    output: Path = Path("runs/blend"),
) -> None:
    """Average two models, before tuning and after it; find where both old and new is kept.

    Writes blend.ckpt with the chosen weights, blend.json and, with several alphas, blend.png.

    Args:
        first: Weights before tuning: a .ckpt, a folder, an official file or a published name.
        second: Weights after it, of the same model.
        alpha: Share of the second, [0.3], or several to try, [0.2,0.4,0.6,0.8]; 0 is the first and
            1 the second, bit for bit.
        sets: What to score on: YAMLs such as data/bccd.yaml, or names; old and new, [bccd,fruits].
        split: Which sets of them.
        output: Folder for what is written.
    """
    from rich.console import Console
    from rich.table import Table

    from glip_pl.blending.run import blend_weights

    record = blend_weights(first, second, alphas=alpha, sets=sets or [], split=split, output=output)
    table, scores = Table(title="AP between two models"), record["scores"]
    if scores:
        names = list(next(iter(scores.values())))
        for column in ("alpha", *names):
            table.add_column(column)
        for at, of in scores.items():
            table.add_row(at, *(f"{of[name]:.3f}" for name in names))
        Console().print(table)
    blended = output / "blend.ckpt"
    write(f"alpha {record['chosen']}: {blended}")
    if sets:
        write(next_command("glip", "test", f"--data={sets[0]}", f"--ckpt_path={blended}"))
    else:
        write(next_prediction(blended))
