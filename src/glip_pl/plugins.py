"""Finding fusion plugins: whatever is registered under the entry point group ``glip_pl.fusion``.

Plugins of this project have no privilege: they are found the same way as those of any package.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module

from glip_pl.configs.names import PLUGINS
from glip_pl.fusion import FusionPlugin
from glip_pl.system.entry_points import registered


def fusion_plugins() -> dict[str, type[FusionPlugin]]:
    """Load every installed fusion plugin, by name.

    Raises:
        TypeError: An entry point names something that is not a fusion plugin.
    """
    plugins = {}
    for entry in registered(PLUGINS):
        plugin = entry.load()
        if not (isinstance(plugin, type) and issubclass(plugin, FusionPlugin)):
            raise TypeError(
                f"the entry point {entry.name} = {entry.value} of group {PLUGINS} is not a "
                "subclass of glip_pl.fusion.FusionPlugin; derive the plugin from it"
            )
        plugins[entry.name] = plugin
    return plugins


def options_of(class_path: str) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a class by its path, of a plugin or of any other."""
    module, _, name = class_path.rpartition(".")
    return inspect.signature(getattr(import_module(module), name)).parameters
