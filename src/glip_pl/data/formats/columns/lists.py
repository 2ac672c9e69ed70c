"""Lists of different lengths one behind the other, and texts among them.

An array ``..._at`` has where each list begins and, last, where all end: those of row 7 are the
elements ``at[7]`` to ``at[8]``.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np

from glip_pl.data.formats.columns.store import Array

_BATCH = 1 << 14  # Texts that a walk over all takes out at once.


class Texts(Sequence[str]):
    """Texts one behind the other, in UTF-8.

    Args:
        letters: Their bytes, uint8.
        at: Where each begins and, last, where all end, int64.
    """

    def __init__(self, letters: Array, at: Array) -> None:
        self._letters, self._at = letters, at

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Join texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        letters = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(letters, starts([len(text) for text in encoded]))

    @property
    def arrays(self) -> tuple[Array, Array]:
        """The bytes of all texts, and where each begins."""
        return self._letters, self._at

    def __len__(self) -> int:
        return len(self._at) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return a text, or some."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        begin, end = self._at[index : index + 2].tolist()
        return self._letters[begin:end].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH):
            at = self._at[start : start + _BATCH + 1].tolist()
            letters = self._letters[at[0] : at[-1]].tobytes()
            for begin, end in pairwise(at):
                yield letters[begin - at[0] : end - at[0]].decode("utf-8", "surrogatepass")

    def take(self, places: Array) -> "Texts":
        """Take the texts at some places, [T]."""
        lengths = np.diff(self._at)[places]
        return Texts(self._letters[spread(self._at[places], lengths)], starts(lengths))


def starts(lengths: Any) -> Array:
    """Return where lists of some lengths begin, one behind the other, and where the last ends."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])


def spread(begins: Array, lengths: Array) -> Array:
    """Return the positions begin, begin + 1, ... of every list, one list behind the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(begins - (ends - lengths), lengths) + np.arange(total)
