"""What is walked over more than once and may be larger than memory."""

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Generic, Self, TypeVar

T = TypeVar("T")
_AT_ONCE = 4096


class Spool(Generic[T]):
    """Objects kept in a nameless file, all but the last; one walk at a time."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._last: list[T] = []
        self._length = 0

    @classmethod
    def of(cls, items: Iterable[T]) -> Self:
        """Keep some objects."""
        spool = cls()
        for item in items:
            spool.append(item)
        return spool

    def append(self, item: T) -> None:
        """Keep one more; never during a walk."""
        self._last.append(item)
        self._length += 1
        if len(self._last) == _AT_ONCE:
            self._file = self._file or tempfile.TemporaryFile()
            pickle.dump(self._last, self._file, pickle.HIGHEST_PROTOCOL)
            self._last = []

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        if self._file is not None:
            end = self._file.tell()
            self._file.seek(0)
            while self._file.tell() < end:
                yield from pickle.load(self._file)
        yield from self._last
