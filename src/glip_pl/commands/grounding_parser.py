"""The parser of ``glip fit``, ``validate`` and ``test``: options beside those of Lightning."""

from collections.abc import Mapping
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser

from glip_pl.commands.parser import CommandParser
from glip_pl.configs.names import HERE
from glip_pl.fusion import FusionPlugin
from glip_pl.plugins import fusion_plugins


class GroundingParser(CommandParser, LightningArgumentParser):
    """The parser of every command, with Lightning's ways to add its classes."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Name the installed plugins, too, where that may be the reason."""
        if "FusionPlugin" in message or "model.fusion" in message:
            names = ", ".join(plugin.__name__ for plugin in fusion_plugins().values())
            message += f"\nThe installed fusion plugins are {names}."
        super().error(message, ex)


def add_options(parser: LightningArgumentParser) -> None:
    """Add the weights, link the sizes, and set the model of defaults.yaml."""
    parser.add_argument(
        "--weights",
        type=str | None,
        default=None,
        help="Start from these weights: a .ckpt of `glip fit`, a folder of `glip convert`, a "
        "file of official GLIP, a published name such as glip_t, or hf:user/repo. To resume a "
        "run of `glip fit`, use --ckpt_path.",
    )
    parser.add_argument(
        "--new",
        type=list[str],
        default=[],
        help="Parts that start afresh where the weights do not fit them, such as [fusion]; "
        "[vocabulary] resumes a run on data of other names.",
    )
    parser.add_argument(
        "--trust",
        type=list[str],
        default=[],
        help="Modules of your own whose classes the weights may name.",
    )
    parser.add_argument(
        "--fusion_defaults",
        type=dict[str, Any],
        default={},
        help="Options of whatever fusion plugin is chosen, as far as its constructor has them "
        "and model.fusion.init_args says nothing else: a model's files give them.",
    )
    # The sizes that backbone, text encoder and plugin must agree on are stated once.
    parser.link_arguments("model.d_text", "model.text.init_args.d_text")
    parser.link_arguments("model.d_model", "model.fusion.init_args.d_model")
    parser.link_arguments("model.d_text", "model.fusion.init_args.d_text")
    # Where a checkpoint is given, what it says of its model takes the place of these.
    defaults = yaml.safe_load((HERE / "defaults.yaml").read_text())
    parser.set_defaults(
        {f"model.{name}": value for name, value in defaults["model"].items()}
        | {"fusion_defaults": defaults["fusion_defaults"]}
    )


def with_plugin_options(command: str, fusion: Namespace, options: Mapping[str, Any]) -> Namespace:
    """Add options to a plugin that has been parsed; nothing else is parsed again.

    Args:
        command: The command that is parsed, for messages.
        fusion: The plugin's class path and arguments.
        options: Further arguments.

    Returns:
        The plugin with these, checked like any that is typed.
    """
    parser = GroundingParser(prog=f"glip {command}")
    parser.add_argument("--model.fusion", type=FusionPlugin)
    described = fusion.as_dict()
    described["init_args"] = {**described.get("init_args", {}), **options}
    parsed: Namespace = parser.parse_object({"model": {"fusion": described}}).model.fusion
    return parsed
