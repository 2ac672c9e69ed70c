"""JSON whose objects say everything once.

Of equal keys in one object, JSON's readers keep the last in silence. Which of two boxes or ids was
meant nobody can tell, so that such a text is refused; equal values of equal keys do no harm.
"""

import json
from collections.abc import Sequence
from typing import Any

_SHOWN = 40  # Characters of a value in a message.


class RepeatedKeyError(ValueError):
    """An object has two values of one key."""


def repeated(key: object, *values: object) -> RepeatedKeyError:
    """Return the error that names a key and what it stands for."""
    shown = " and ".join(_short(value) for value in values)
    where = f"{str(key)!r} stands twice in one object"
    return RepeatedKeyError(f"{where}, for {shown}" if shown else where)


def read_json(text: str | bytes | bytearray) -> Any:
    """Read JSON as ``json.loads`` does, and refuse what it would drop.

    Raises:
        RepeatedKeyError: An object has two values of one key.
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    return json.loads(text, object_pairs_hook=once)


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its keys and values.

    Raises:
        RepeatedKeyError: A key has two values.
    """
    held = dict(pairs)
    if len(held) != len(pairs):
        for key, value in pairs:
            if value != held[key]:
                raise repeated(key, value, held[key])
    return held


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
