"""Which classes a checkpoint or a ``model.yaml`` may name: importing a module runs its code.

Allowed are the classes of this package, of every installed package that registers a plugin, and of
the modules that the user trusts by name. All that a description names is checked before the first
import.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from glip_pl.system.entry_points import all_entry_points

_GROUPS = "glip_pl."  # Of the entry points of plugins: "glip_pl.fusion" and its like.


def allowed_packages(trust: Iterable[str] = ()) -> set[str]:
    """Return the modules, with all below them, whose classes may be imported."""
    plugins = {
        entry.module.partition(".")[0]
        for entry in all_entry_points()
        if entry.group.startswith(_GROUPS)
    }
    return {"glip_pl", *plugins, *trust}


def check_class_paths(described: Any, source: str, trust: Sequence[str] = ()) -> None:
    """Refuse a description that names a class of any other module; nothing is imported.

    Args:
        described: Nested dicts and lists with ``class_path`` entries.
        source: Where it comes from, for the message.
        trust: Modules that the user trusts.

    Raises:
        ValueError: It names such a class.
    """
    allowed = allowed_packages(trust)
    for path in _class_paths(described):
        if not _is_inside(str(path), allowed):
            module = str(path).rpartition(".")[0] or str(path)
            raise ValueError(
                f"{source!r} asks for the class {path!r}, and importing the module {module!r} "
                "would run its code; if you know it and trust it, install the package that "
                f"registers it, or pass --trust={module}"
            )


def instantiate(described: Mapping[str, Any], trust: Sequence[str] = ()) -> Any:
    """Build an object from its ``class_path`` and ``init_args``, which may hold further ones.

    Raises:
        ValueError: The class does not exist, is not allowed, or does not take these arguments.
    """
    kind = load_class(described["class_path"], trust)
    arguments = {
        name: _built(value, trust) for name, value in (described.get("init_args") or {}).items()
    }
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{described['class_path']} cannot be built from its description: {error}; it was "
            "written by another version, or by another package of this name"
        ) from error


def load_class(path: str, trust: Sequence[str] = ()) -> type[Any]:
    """Import an allowed class.

    Raises:
        ValueError: There is no such class, or it is not allowed.
    """
    check_class_paths({"class_path": path}, path, trust)
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"there is no class {path!r} ({error}); install the package that it comes from"
        ) from error
    # A module of ours also holds what it imported from elsewhere.
    if not isinstance(kind, type) or not _is_inside(kind.__module__, allowed_packages(trust)):
        raise ValueError(f"{path!r} is no class of {module}; correct the description of the model")
    return kind


def _built(value: Any, trust: Sequence[str]) -> Any:
    if isinstance(value, Mapping) and "class_path" in value:
        return instantiate(value, trust)
    return value


def _class_paths(described: Any) -> Iterator[Any]:
    if isinstance(described, Mapping):
        if "class_path" in described:
            yield described["class_path"]
        for value in described.values():
            yield from _class_paths(value)
    elif isinstance(described, (list, tuple)):
        for value in described:
            yield from _class_paths(value)


def _is_inside(path: str, allowed: set[str]) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in allowed)
