"""Files of JSON lines: one object a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.json_keys import RepeatedKeyError, read_json

NOT_JSON = "line that is no JSON object"
TWO_VALUES = "line with two values of one key"
_LONGEST = 1 << 22


def first_object(file: Path) -> dict[str, Any]:
    """Read the object of a file's first line; an empty one where that is no object."""
    with file.open("rb") as opened:
        line = opened.readline(_LONGEST)
    try:
        value = read_json(line)
    except (ValueError, RecursionError):  # Or lists in lists without end.
        return {}
    return value if isinstance(value, dict) else {}


def json_lines(file: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Walk over the objects of a file with their line numbers, which count from 1.

    Args:
        file: The file.
        problems: Gains the lines that are no object; blank ones are passed over.
    """
    with file.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            if not line.strip():
                continue
            try:
                value = read_json(line)
            except RepeatedKeyError as error:
                note(problems, TWO_VALUES, f"line {number}, {error}")
                continue
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                yield number, value
            else:
                note(problems, NOT_JSON, f"line {number}")
