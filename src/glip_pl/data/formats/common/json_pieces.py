"""Pieces of the lists of a JSON object, decoded when they are asked for; see `json_walk`."""

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from glip_pl.data.formats.common.json_keys import RepeatedKeyError, read_json

T = TypeVar("T")


@dataclass(frozen=True)
class JsonPiece:
    """Some entries of a list, one after the other.

    Attributes:
        path: The file, for messages.
        file: The opened file, in UTF-8.
        start: Where they begin, in bytes.
        stop: Where they end.
    """

    path: Path
    file: BinaryIO
    start: int
    stop: int

    def decode(
        self, decoder: "msgspec.json.Decoder[list[T]]", once: Sequence[str] = ()
    ) -> list[T] | None:
        """Decode the entries into objects of one type.

        Args:
            decoder: Decodes them, and of equal keys keeps the last.
            once: Keys that no entry has more than once.

        Returns:
            None where the type is too strict for them, or such a key stands more often.
        """
        given = self._bytes()
        with _no_collection():
            try:
                entries = decoder.decode(given)
            except (msgspec.DecodeError, RecursionError):  # Wrong UTF-8 was refused before.
                return None
        if any(given.count(f'"{key}"'.encode()) > len(entries) for key in once):
            return None
        return entries

    def mentions(self, key: str) -> bool:
        """Whether a key, or a text like it, is anywhere in the entries."""
        return f'"{key}"'.encode() in self._bytes()

    def values(self) -> list[Any]:
        """Decode the entries, whatever they are.

        Raises:
            ValueError: They are no JSON, nested too deep, or have two values of one key.
        """
        with _no_collection():
            try:
                held: list[Any] = read_json(self._bytes())
                return held
            except RepeatedKeyError as error:
                raise ValueError(
                    f"cannot read the annotation file {str(self.path)!r}: {error}; keep one"
                ) from None
            except (ValueError, RecursionError) as error:
                what = getattr(error, "msg", error)
                where = f"between bytes {self.start} and {self.stop}"
                raise ValueError(
                    f"cannot read the annotation file {str(self.path)!r}: {what} {where}; download "
                    "or export it again"
                ) from None

    def _bytes(self) -> bytes:
        # By position, since processes that were forked share the place in the file.
        parts, start = [b"["], self.start
        while start < self.stop and (
            part := os.pread(self.file.fileno(), self.stop - start, start)
        ):
            parts.append(part)
            start += len(part)
        return b"".join([*parts, b"]"])


@dataclass(frozen=True)
class JsonList:
    """A list of a document; walking over it decodes a piece at a time."""

    pieces: list[JsonPiece] = field(default_factory=list)

    def __iter__(self) -> Iterator[Any]:
        for piece in self.pieces:
            yield from piece.values()


@dataclass(frozen=True)
class JsonDocument:
    """The lists of a JSON object by their keys.

    Attributes:
        lists: The lists; other values of the object are not kept.
        digest: A hash of the file's bytes.
    """

    lists: Mapping[str, JsonList]
    digest: str


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles among a million new objects that have none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
