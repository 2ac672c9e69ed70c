"""Which options were said: typed, or written in a configuration file, and not left at a default."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from glip_pl.configs.class_paths import with_current_paths
from glip_pl.configs.reading import load_checked


def said(given: Sequence[str], *below: str) -> Iterator[tuple[str, ...]]:
    """Yield the options below a place, as the names that lead to them from there.

    Args:
        given: What the options of a command were parsed from, files and all.
        below: The place, such as "model", "fusion".
    """
    place = f"--{'.'.join(below)}."
    for token, following in zip_longest(given, given[1:], fillvalue=""):
        option, equals, value = token.partition("=")
        if option.startswith(place):
            yield tuple(option.removeprefix(place).rstrip("+").split("."))
        elif option in ("--config", "-c"):
            source = value if equals else following
            text = Path(source).read_text() if Path(source).is_file() else source
            described = with_current_paths(load_checked(text))
            for key in below:
                described = described.get(key) if isinstance(described, dict) else None
            if isinstance(described, dict):
                yield from _leaves(described)


def _leaves(described: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in described.items():
        if isinstance(value, dict) and value:
            yield from ((name, *rest) for rest in _leaves(value))
        else:
            yield (name,)
