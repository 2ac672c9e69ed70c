"""Reading YAML that anybody may have written: nothing that is nested or repeated without end.

PyYAML's reader in C ends the process where 10^5 brackets open, and a few lines of aliases to
aliases stand for more values than there is memory for. Both are counted before they are built.
"""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

# Far beyond any configuration: those of this project have a depth of 8 and some hundred values.
MAX_DEPTH, MAX_VALUES = 50, 100_000


def check_yaml(text: str) -> None:
    """Refuse a YAML text that is too deep, or too large once its aliases are written out.

    Raises:
        ValueError: It is.
        yaml.YAMLError: It is no YAML.
    """
    sizes: dict[str, int] = {}  # Values that each anchor stands for.
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
            if len(open_nodes) > MAX_DEPTH:
                raise ValueError(
                    f"more than {MAX_DEPTH} levels of brackets or lists stand in each other"
                )
        elif isinstance(event, CollectionEndEvent):
            anchor, start = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = count - start
        elif isinstance(event, AliasEvent):
            count += sizes.get(str(event.anchor), 1)
        elif isinstance(event, ScalarEvent):
            count += 1
        if count > MAX_VALUES:
            raise ValueError(
                f"the text stands for more than {MAX_VALUES} values, its aliases written out"
            )


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ValueError: It cannot be read, or is too deep or too large.
    """
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        return yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read {str(path)!r}: {reason}; correct the file") from error


_load = get_loader("yaml")


def load_checked(text: str) -> Any:
    """Load a YAML text as jsonargparse does, once it is checked."""
    check_yaml(text)
    return _load(text)


def read_safely() -> None:
    """Let every parser of the command line check configuration files and values so."""
    set_loader("yaml", load_checked, exceptions=(yaml.YAMLError,))
