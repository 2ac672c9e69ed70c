"""``glip reproduce``: a published checkpoint by the published protocol."""

import shlex
from pathlib import Path
from typing import Literal

from glip_pl.commands.parser import run_function
from glip_pl.system.screen import next_prediction, write


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(reproduce, args, positional=True)


def reproduce(
    name: str,
    *,
    data: Literal["coco", "lvis"] = "coco",
    weights: str | None = None,
    root: Path | None = None,
    output: Path = Path("runs/reproduce"),
    options: str = "",
) -> None:
    """Test a published checkpoint as it was published, and print both figures.

    Weights and data are fetched as far as the network and their licences allow; what is left to do
    by hand is listed.

    Args:
        name: A published checkpoint, such as glip_t or mm_grounding_dino_t.
        data: The benchmark: COCO val2017, or the fixed AP of LVIS minival.
        weights: A file or folder of this checkpoint that was downloaded by hand.
        root: Folder of the data, where it is not the one of their YAML.
        output: Folder for the results.
        options: Further options of `glip test` in quotes, such as "--data.num_workers=4".
    """
    from rich.console import Console
    from rich.table import Table

    from glip_pl.results.reproduce import reproduce_figure

    record = reproduce_figure(
        *(name, data),
        weights=weights,
        root=root,
        output=output,
        options=shlex.split(options),
    )
    table = Table(title=f"{record['benchmark']}, in percent")
    for column in ("checkpoint", "published", "measured", "difference"):
        table.add_column(column)
    figures = (f"{record['published']:.1f}", f"{record['measured']:.1f}")
    table.add_row(name, *figures, f"{record['difference']:+.1f}")
    console = Console()
    console.print(table)
    console.print(f"results: {record['results']}", highlight=False)
    write(next_prediction(weights or name))
