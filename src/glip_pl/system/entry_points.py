"""Entry points of installed packages, by which plugins are found."""

import sys
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint


def registered(group: str) -> list[EntryPoint]:
    """Return what installed packages register in a group, by name."""
    found = [entry for entry in all_entry_points() if entry.group == group]
    return sorted(found, key=lambda entry: entry.name)


def all_entry_points() -> tuple[EntryPoint, ...]:
    """Return what installed packages register in any group."""
    return _read(tuple(sys.path))


@cache  # To read the files of all packages takes longer than to build a small model.
def _read(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    found = metadata.entry_points()
    return tuple(entry for group in found.groups for entry in found.select(group=group))
