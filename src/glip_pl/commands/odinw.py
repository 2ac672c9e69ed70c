"""``glip odinw``: one model on many small data sets, as it is or after a few training images."""

from collections.abc import Sequence
from typing import Literal

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
) -> None:
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
    """
    from glip_pl.odinw.evaluate import odinw as evaluate

    evaluate(
        root,
        weights=weights,
        ckpt_path=ckpt_path,
        sets=sets,
        shots=shots,
        seeds=seeds,
        output=output,
        options=options,
    )
