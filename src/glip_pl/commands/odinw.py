"""``glip odinw``: one model on many small data sets, as it is or after a few training images."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(odinw, args)


def odinw(
    root: str,
    *,
    weights: str | None = None,
    ckpt_path: str | None = None,
    sets: str = "13",
    shots: int | Literal["full"] = 0,
    seeds: Sequence[int] = (3,),
    output: str = "runs/odinw",
    options: str = "",
) -> dict[str, Any]:
    """Evaluate a model on the data sets of ODinW, and print and save a table.

    Args:
        root: Folder of the data sets: official GLIP's, or folders such as pothole/ with
            annotations/test.json and images/.
        weights: A folder that `glip convert` wrote, a file of official GLIP, or the name of a
            published checkpoint such as glip_t.
        ckpt_path: In its place, a checkpoint that `glip fit` wrote.
        sets: "13" or "35", with official GLIP's prompts of that list, or names with commas between;
            those of the 13 get the prompts of that list.
        shots: 0 tests the model as it is; 1, 3, 5, 10 or "full" fine-tunes it first, for each set
            anew, on images that show each category so often.
        seeds: Which images these are. Of several, each gets a table of its own, and odinw.json
            their mean; official GLIP's is that of [3,30,300].
        output: Folder for configurations, checkpoints, results and the table, odinw.json.
        options: Further options of `glip fit` and `glip test` in quotes, such as
            "--trainer.devices=2 --data.num_workers=4".

    Returns:
        What odinw.json holds.
    """
    from glip_pl.odinw.evaluate import evaluate, find_places, told
    from glip_pl.odinw.run import Run
    from glip_pl.odinw.table import mean_of_seeds

    if (weights is None) == (ckpt_path is None):
        raise ValueError("glip odinw needs a model; pass either --ckpt_path or --weights")
    if shots != "full" and shots < 0:
        raise ValueError(f"--shots={shots} is no number of images; pass 0, 1, 3, 5, 10 or full")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds={list(seeds)}: pass one or more, each once, such as [3,30,300]")
    places = find_places(sets, Path(root))
    few = shots not in (0, "full")  # Of all images, or of none, a seed chooses nothing.
    tables = []
    for seed in seeds if few else seeds[:1]:
        run = Run(weights, ckpt_path, shots, seed, Path(output), shlex.split(options))
        asked = {"model": weights or ckpt_path, "shots": shots, "seed": seed if few else None}
        tables.append(evaluate(run, places, asked))
    if len(tables) == 1:
        return tables[0]
    return told(mean_of_seeds(tables), Path(output) / f"shot{shots}")
