"""The command line without its consequences."""

from helpers import CONFIGS

from glip_pl.commands.grounding_cli import GroundingCLI


def parse(*configs):
    """Parse configuration files without building anything; give the run's options."""

    class Parsed(GroundingCLI):
        def instantiate_classes(self):
            self.trainer = None

        def _run_subcommand(self, subcommand):
            pass

    paths = (CONFIGS / "base.yaml", *configs)
    return Parsed(["fit", *(f"--config={path}" for path in paths)]).config.fit
