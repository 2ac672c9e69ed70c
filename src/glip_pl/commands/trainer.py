"""What ``glip fit``, ``validate`` and ``test`` do before Lightning is there."""

from glip_pl.commands.described_model import described_model
from glip_pl.commands.known_options import refuse_unknown
from glip_pl.commands.processes import follow_the_first
from glip_pl.configs.names import expand
from glip_pl.system.memory import keep_freed_memory


def run_trainer(command: str, args: list[str]) -> None:
    """Run a command of Lightning's trainer.

    Args:
        command: fit, validate or test.
        args: What was typed after it.
    """
    # Names and options are looked up first: a wrong one need not wait for Lightning.
    arguments = expand(command, args)
    refuse_unknown(command, args)

    described = described_model(args) if command == "fit" else None
    if described is not None:
        arguments = expand(command, args, described)

    from glip_pl.commands.grounding_cli import GroundingCLI
    from glip_pl.commands.quiet import quieten_lightning

    follow_the_first()
    keep_freed_memory()
    quieten_lightning(command)
    is_named = any(arg.startswith("--data=") for arg in args)
    data = [arg for arg in args if arg.startswith(("--data=", "--data."))] if is_named else []
    GroundingCLI([command, *arguments], data=data)
