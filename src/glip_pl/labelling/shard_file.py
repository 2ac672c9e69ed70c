"""A labelled shard: a head that says what made it, and a line of JSON per image.

It is written aside and renamed when it is whole, so that a file that is there is done.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glip_pl.system.aside import written_aside

FORMAT = 1


@dataclass(frozen=True)
class Head:
    """What a labelled shard depends on; the same head and images give the same bytes.

    Attributes:
        weights: SHA-256 of the weights.
        prompt: SHA-256 of the prompt and of all options that change what is found.
        images: SHA-256 of the images' names and prompts.
        shard: The shard's name.
        phrases: The names of the common prompt.
        glip_label: Version of this form.
    """

    weights: str
    prompt: str
    images: str
    shard: str
    phrases: tuple[str, ...]
    glip_label: int = FORMAT


@contextmanager
def shard_file(path: Path, head: Head) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Open a labelled shard; the context gives the function that writes a line.

    Args:
        path: The file to be.
        head: Its first line.
    """
    with written_aside(path) as file:

        def add(record: dict[str, Any]) -> None:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")

        add(asdict(head))
        yield add


def read_head(path: Path) -> Head:
    """Read the first line of a labelled shard.

    Raises:
        ValueError: The file is none.
    """
    try:
        with path.open(encoding="utf-8") as file:
            known = json.loads(file.readline())
        return Head(**{**known, "phrases": tuple(known["phrases"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} is no labelled shard ({error}); remove it, or pass another --output"
        ) from error


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the images of a labelled shard."""
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            yield json.loads(line)
