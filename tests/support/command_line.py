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


def arguments(*configs):
    paths = (CONFIGS / "base.yaml", *configs)
    return ["fit", *(f"--config={path}" for path in paths)]


# To describe all options takes as long as to read them; it is done once.
_described = []


def parse(*configs):
    """Parse configuration files without building anything; give the run's options."""
    if not _described:
        _described.append(Parsed(arguments(*configs)))
    (cli,) = _described
    cli.parse_arguments(cli.parser, arguments(*configs))
    return cli.config.fit
