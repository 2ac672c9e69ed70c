"""JSON objects of lists, larger than memory: read as pieces of whole entries.

`open_document` walks once over a file and notes where the lists of its outermost object lie, cut
between entries into pieces of some megabytes; the pieces are decoded when they are asked for, as
often as needed and in any order, since a file may have its categories last. What is valid is what
Python's ``json`` takes: a decoder that is faster and stricter goes first, and what it refuses is
left to ``json``, whose errors are told.
"""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from glip_pl.data.formats.common.json_brackets import follow_brackets
from glip_pl.data.formats.common.json_keys import repeated
from glip_pl.data.formats.common.json_pieces import JsonDocument, JsonList, JsonPiece
from glip_pl.data.formats.common.text_files import in_utf8

PIECE = 1 << 24
_BLANK = b" \t\n\r"
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,}\]]*")
# Where an entry may end: tried from the last one on, in the last bytes of a piece.
_ENTRY_END = re.compile(rb"\}\s*,")
_TAIL, _TRIES = 1 << 16, 3
_VALID = msgspec.json.Decoder(msgspec.Raw)


def open_document(path: Path) -> JsonDocument:
    """Find the lists of a JSON object; of a file that holds another value, none.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    return _walk(path).document()


def _walk(path: Path) -> "_Walk":
    file: BinaryIO = path.open("rb")
    encoding = json.detect_encoding(file.read(4))
    file.seek(0)
    if encoding not in ("utf-8", "utf-8-sig"):
        file = in_utf8(file, encoding)
    start = len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0
    return _Walk(path, file, start)


def open_list(path: Path) -> JsonList | None:
    """Find the entries of a JSON list; None of another value. Raises as `open_document`."""
    return _walk(path).outermost_list()


class _Walk:
    """One walk over a document: a window of its bytes, and the place in the window.

    Args:
        path: The file, for messages.
        file: The file, opened, in UTF-8.
        start: How many bytes to pass over.
    """

    def __init__(self, path: Path, file: BinaryIO, start: int) -> None:
        self._path, self._file, self._hash = path, file, hashlib.blake2b(digest_size=16)
        self._window, self._base, self._at, self._ended = b"", 0, 0, False
        self._lists: dict[str, JsonList] = {}
        self._more()
        self._at = start

    def document(self) -> JsonDocument:
        if self._next() == b"{":
            self._object()
        else:  # Another value, which is either small or surely not what is looked for.
            if self._ended:
                json.loads(self._window[self._at :])
            self._ended = True
            self._at = len(self._window)
        if self._next():
            raise self._error("Extra data")
        return JsonDocument(self._lists, self._hash.hexdigest())

    def outermost_list(self) -> JsonList | None:
        if self._next() != b"[":
            return None
        self._at += 1
        pieces = list(self._pieces())
        if self._next():
            raise self._error("Extra data")
        return JsonList(pieces)

    def _object(self) -> None:
        self._at += 1
        closed = self._next() == b"}"
        self._at += closed
        passed = set[str]()
        while not closed:
            if self._next() != b'"':
                raise self._error("Expecting property name enclosed in double quotes")
            key = json.loads(self._whole_text())
            if self._next() != b":":
                raise self._error("Expecting ':' delimiter")
            self._at += 1
            if self._next() == b"[":
                self._at += 1
                if key in passed:
                    raise repeated(key)
                self._lists[key] = JsonList(list(self._pieces()))
            elif key in self._lists:
                raise repeated(key)
            else:
                self._value()
            passed.add(key)
            mark = self._next()
            if mark not in (b",", b"}"):
                raise self._error("Expecting ',' delimiter")
            self._at += 1
            closed = mark == b"}"

    def _next(self) -> bytes:
        """Pass over blanks; the byte that follows, none at the end."""
        while True:
            rest = self._window[self._at : self._at + 256]
            self._at += len(rest) - len(rest.lstrip(_BLANK))
            if self._at < len(self._window):
                return self._window[self._at : self._at + 1]
            if self._ended:
                return b""
            self._more()

    def _more(self, least: int = 0) -> None:
        """Drop what was passed and read a piece, or so many bytes, more if there are."""
        least = max(least, PIECE)
        part = self._file.read(least)
        self._hash.update(part)
        self._ended = len(part) < least
        self._base += self._at
        self._window, self._at = self._window[self._at :] + part, 0

    def _error(self, what: str) -> ValueError:
        return ValueError(f"{what} near byte {self._base + self._at}")

    def _whole_text(self) -> bytes:
        """Take a text, quotes and all."""
        while (found := _TEXT.match(self._window, self._at)) is None:
            if self._ended:
                raise self._error("Unterminated string")
            self._more(len(self._window))
        self._at = found.end()
        return found[0]

    def _value(self) -> None:
        """Pass over a value that is no list."""
        mark = self._next()
        if mark == b'"':
            json.loads(self._whole_text())
        elif mark == b"{":
            while (end := self._structure(self._at + 1)[0]) < 0:
                self._refuse_end()
                self._more(len(self._window))
            json.loads(self._window[self._at : end + 1])
            self._at = end + 1
        else:
            end = self._scalar_end()
            while end == len(self._window) and not self._ended:
                self._more(len(self._window))
                end = self._scalar_end()
            json.loads(self._window[self._at : end])
            self._at = end

    def _scalar_end(self) -> int:
        found = _SCALAR.match(self._window, self._at)
        assert found is not None
        return found.end()

    def _pieces(self) -> Iterator[JsonPiece]:
        """Cut a list into pieces, from behind its opening bracket to behind its closing one."""
        comma = False
        while True:
            mark = self._next()
            if mark == b"]" and not comma:
                self._at += 1
                return
            while not self._ended and len(self._window) - self._at < PIECE:
                self._more()
            stop = self._trial()
            end = -1
            while stop < 0:
                end, last = self._structure(self._at)
                stop = end if end >= 0 else last
                if stop < 0:
                    self._refuse_end()
                    self._more(len(self._window))
            yield self._cut(stop)
            if end >= 0:
                if self._next() != b"]":
                    raise self._error("Expecting ',' delimiter")
                self._at = end + 1
                return
            comma = self._next() == b","
            if comma:
                self._at += 1
            elif self._next() != b"]":
                raise self._error("Expecting ',' delimiter")

    def _cut(self, stop: int) -> JsonPiece:
        """Make a piece from here to a place in the window."""
        part = self._window[self._at : stop]
        if not part.isascii():
            part.decode("utf-8", "surrogatepass")
        if not part.strip(_BLANK):
            raise self._error("Expecting value")
        piece = JsonPiece(self._path, self._file, self._base + self._at, self._base + stop)
        self._at = stop
        return piece

    def _trial(self) -> int:
        """Guess where the last entry of the window ends; -1 where no guess is valid.

        What is valid as a list ends between entries, since JSON is read in one way only.
        """
        limit = min(len(self._window), self._at + PIECE)
        if limit - self._at < PIECE:
            return -1
        tail = max(limit - _TAIL, self._at)
        ends = [m.start() + 1 for m in _ENTRY_END.finditer(self._window, tail, limit)]
        for end in ends[: -_TRIES - 1 : -1]:
            try:
                _VALID.decode(b"[" + self._window[self._at : end] + b"]")
            except (msgspec.DecodeError, RecursionError):
                continue
            return end
        return -1

    def _structure(self, start: int) -> tuple[int, int]:
        """Do as `follow_brackets` from a place of the window on; places count in the window."""
        closed, last = follow_brackets(self._window[start:])
        return (start + closed if closed >= 0 else -1), (start + last if last >= 0 else -1)

    def _refuse_end(self) -> None:
        if self._ended:
            raise ValueError(f"it ends after {self._base + len(self._window)} bytes, in the middle")
