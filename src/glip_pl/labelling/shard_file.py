"""A labelled shard: a head that says what made it, and a line of JSON per image.

It is written aside and renamed when it is whole, so that a file that is there is done.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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


class ShardFile:
    """Write a labelled shard, as a context that renames it at its end.

    Args:
        path: The file to be.
        head: Its first line.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self._path = path
        # Two processes that are told to do the same write two files, and the last one stays.
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._head = head

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("w", encoding="utf-8", newline="\n")
        self.add(asdict(self._head))
        return self

    def add(self, record: dict[str, Any]) -> None:
        """Write a line."""
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
            if kind is not None:
                self._part.unlink(missing_ok=True)
        if kind is None:
            os.replace(self._part, self._path)


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
