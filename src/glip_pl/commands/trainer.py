"""What ``glip fit``, ``validate`` and ``test`` do before Lightning is there."""

from glip_pl.configs.names import expand
from glip_pl.system.memory import keep_freed_memory


def run_trainer(command: str, args: list[str]) -> None:
    """Run a command of Lightning's trainer.

    Args:
        command: fit, validate or test.
        args: What was typed after it.
    """
    # Names are looked up first: a wrong one need not wait for Lightning.
    arguments = expand(command, args)

    from glip_pl.commands.grounding_cli import GroundingCLI, quieten_lightning

    keep_freed_memory()
    quieten_lightning()
    GroundingCLI([command, *arguments])
