"""``glip compare``: whether one test run is better than another, or luck with the images."""

from pathlib import Path

from glip_pl.commands.parser import run_function


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(compare, args, positional=True)


def compare(
    first: str,
    second: str,
    *,
    anyway: bool = False,
    samples: int = 1000,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Judge whether one test run is better than another, or only lucky with its images.

    Args:
        first: Folder of a test run, or its results.json.
        second: The same of the run to compare with it.
        anyway: Compare unlike protocols, too.
        samples: Draws of the test images, with replacement.
        seed: Of the draws.
        json: Also write the figures to this file.
    """
    from glip_pl.results.comparison import compare_runs

    compare_runs(first, second, anyway=anyway, samples=samples, seed=seed, json_file=json)
