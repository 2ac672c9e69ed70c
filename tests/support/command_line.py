"""The command line without its consequences."""

from helpers import CONFIGS

from glip_pl.commands.grounding_cli import GroundingCLI


class Parsed(GroundingCLI):
    """Options that are read, and nothing that is built of them."""

    def instantiate_classes(self):
        self.trainer = None

    def after_instantiate_classes(self):
        pass

    def _run_subcommand(self, subcommand):
        pass


def arguments(*given):
    named = (str(one) for one in (CONFIGS / "base.yaml", *given))
    return ["fit", *(one if one.startswith("--") else f"--config={one}" for one in named)]


# To describe all options takes as long as to read them; it is done once.
_described = []


def parse(*given):
    """Parse options and the paths of files without building anything; return the run's options."""
    if not _described:
        _described.append(Parsed(arguments(*given)))
    (cli,) = _described
    cli.parse_arguments(cli.parser, arguments(*given))
    return cli.config.fit
