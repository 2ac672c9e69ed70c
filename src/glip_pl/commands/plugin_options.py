"""Options of the chosen fusion plugin that a model's file gives to whatever plugin it meets."""

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace

from glip_pl.commands.said import said
from glip_pl.plugins import fusion_plugins, options_of


def plugin_options(config: Namespace, given: Sequence[str]) -> dict[str, Any]:
    """Return the options of ``fusion_defaults`` that hold for the chosen plugin.

    Args:
        config: The parsed options of a command.
        given: What they were parsed from; what it says of the plugin itself takes precedence.

    Raises:
        ValueError: An option is none of any installed plugin.
    """
    own = options_of(config.model.fusion.class_path)
    known = {
        p for plugin in fusion_plugins().values() for p in inspect.signature(plugin).parameters
    }
    for option in config.fusion_defaults:
        if option not in known | set(own):
            close = difflib.get_close_matches(option, sorted(known), n=1)
            hint = f"did you mean {close[0]}?" if close else f"they have {', '.join(sorted(known))}"
            raise ValueError(
                f"--fusion_defaults.{option} is no option of an installed fusion plugin; {hint}"
            )
    below = ("model", "fusion")
    own_said = {first for first, *_ in said(given, *below, "init_args")}
    own_said |= {first for first, *_ in said(given, *below)}
    return {
        option: value
        for option, value in config.fusion_defaults.items()
        if option in own and option not in own_said
    }
