"""Pickles that hold plain data only: anything else could run code while it is read."""

import pickle
from pathlib import Path
from typing import Any, NoReturn


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of lists, tuples, dictionaries, strings and numbers.

    Raises:
        ValueError: It needs a class or function, or is broken.
    """
    try:
        with path.open("rb") as file:
            # Pickles of Python 2 hold bytes where text is meant.
            return _PlainUnpickler(file, encoding="utf-8", errors="replace").load()
    except Exception as error:  # Broken pickles raise nearly anything.
        raise ValueError(
            f"cannot read the pickle {str(path)!r}: {error}; take the file from the data set's "
            "authors, or convert it to JSON"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse every name: plain data need none."""
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, and only lists, dictionaries, text and numbers are read"
        )
