"""What callers pass as the path of a file."""

import os
from pathlib import Path
from typing import Any


def path_of(name: str, given: Any) -> Path:
    """Read an argument as a path.

    Args:
        name: What the caller knows it as.
        given: What was passed.

    Raises:
        ValueError: It is of another kind, or empty.
    """
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        shown = f" ({str(given)[:40]!r})" if isinstance(given, int | float | str | bytes) else ""
        raise ValueError(
            f"{name} is of type {type(given).__name__}{shown} and names nothing; give a path, as "
            "text or pathlib.Path"
        )
    return Path(given)
