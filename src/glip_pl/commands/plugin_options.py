"""Options of the chosen fusion plugin that a model's file gives to whatever plugin it meets."""

import difflib
import inspect
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from glip_pl.configs.reading import load_checked
from glip_pl.plugins import fusion_plugins

_FUSION = "--model.fusion."


def plugin_options(config: Namespace, given: Sequence[str]) -> dict[str, Any]:
    """Return the options of ``fusion_defaults`` that hold for the chosen plugin.

    Args:
        config: The parsed options of a command.
        given: What they were parsed from; what it says of the plugin itself takes precedence.

    Raises:
        ValueError: An option is none of any installed plugin.
    """
    module, _, name = config.model.fusion.class_path.rpartition(".")
    own = inspect.signature(getattr(import_module(module), name)).parameters
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
    said = set(_said_of_the_plugin(given))
    return {
        option: value
        for option, value in config.fusion_defaults.items()
        if option in own and option not in said
    }


def _said_of_the_plugin(given: Sequence[str]) -> Iterator[str]:
    """Yield the names of init_args that options and configuration files give to the plugin."""
    for token, following in zip_longest(given, given[1:], fillvalue=""):
        option, equals, value = token.partition("=")
        if option.startswith(_FUSION):
            yield option.removeprefix(_FUSION).removeprefix("init_args.").partition(".")[0]
        elif option in ("--config", "-c"):
            source = value if equals else following
            text = Path(source).read_text() if Path(source).is_file() else source
            described = load_checked(text)
            for key in ("model", "fusion", "init_args"):
                described = described.get(key) if isinstance(described, dict) else None
            yield from described or ()
