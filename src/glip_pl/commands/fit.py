"""``glip fit``: train a model."""

from glip_pl.commands.trainer import run_trainer


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_trainer("fit", args)
