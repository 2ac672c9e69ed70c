"""Reading YAML that anybody may have written: no key twice, nothing nested or repeated without end.

PyYAML's reader in C ends the process where 10^5 brackets open, and a few lines of aliases to
aliases stand for more values than there is memory for. Both are counted before they are built.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

# Far beyond any configuration: those of this project have a depth of 8 and some hundred values.
MAX_DEPTH, MAX_VALUES = 50, 100_000


@dataclass
class _OpenNode:
    """A list or a mapping whose end is not read yet.

    Attributes:
        anchor: What aliases name it.
        start: The number of values before it.
        is_mapping: Whether every second value in it is a key.
        children: The number of values in it, so far.
        keys: Those of a mapping, so far.
    """

    anchor: str | None
    start: int
    is_mapping: bool
    children: int = 0
    keys: set[str] = field(default_factory=set)

    def take(self, event: NodeEvent) -> None:
        """Count a value; of equal keys, YAML's readers keep the last in silence."""
        if self.is_mapping and self.children % 2 == 0 and isinstance(event, ScalarEvent):
            if event.value in self.keys and event.value != "<<":
                raise ValueError(f"{event.value!r} stands twice in one mapping; leave one of them")
            self.keys.add(event.value)
        self.children += 1


def check_yaml(text: str) -> None:
    """Refuse a YAML text of equal keys, too deep, or too large once its aliases are written out.

    Raises:
        ValueError: It is.
        yaml.YAMLError: It is no YAML.
    """
    sizes: dict[str, int] = {}  # Values that each anchor stands for.
    open_nodes: list[_OpenNode] = []
    count = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if open_nodes and isinstance(event, NodeEvent):
            open_nodes[-1].take(event)
        if isinstance(event, CollectionStartEvent):
            is_mapping = isinstance(event, MappingStartEvent)
            open_nodes.append(_OpenNode(event.anchor, count, is_mapping))
            count += 1
            if len(open_nodes) > MAX_DEPTH:
                raise ValueError(
                    f"more than {MAX_DEPTH} levels of brackets or lists stand in each other"
                )
        elif isinstance(event, CollectionEndEvent):
            node = open_nodes.pop()
            if node.anchor is not None:
                sizes[node.anchor] = count - node.start
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
