"""Values of JSON that anyone may have written: what is not as it should be becomes nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from glip_pl.data.formats.common.json_pieces import JsonList

# What reading a missing or wrong value raises.
WRONG = (KeyError, TypeError, ValueError, OverflowError, AttributeError)

# Decimals that say nothing.
_ZEROS = re.compile(r"(?<=\d)\.0*\s*$")
# Words of flags that are not set, or of which nothing is known.
_NOT_TRUE = frozenset(
    ("", "0", "0.0", "false", "f", "no", "n", "off", "none", "null", "nan", "n/a")
)
# What 64 bits hold.
_TOO_LARGE = 1 << 63


def objects(value: Any) -> list[dict[str, Any]]:
    """Take a list of objects; other things in it become empty ones, so that places stay."""
    entries = value if isinstance(value, list | JsonList) else []
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def whole_number(value: Any) -> int | None:
    """Read a number, which some exports write as text or as 7.0; 7.5 and true are none."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return None
    try:
        number = int(_ZEROS.sub("", value) if isinstance(value, str) else value)
    except WRONG:
        return None
    return number if abs(number) < _TOO_LARGE else None


def size_of(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Read (height, width) of an image's entry.

    Raises:
        ValueError: An image without pixels; a missing or wrong number raises another of `WRONG`.
    """
    height, width = whole_number(entry["height"]), whole_number(entry["width"])
    if height is None or width is None or height < 1 or width < 1:
        raise ValueError(f"an image of {entry['height']} x {entry['width']} pixels")
    return height, width


def corners(bbox: Any) -> Sequence[float]:
    """Turn COCO's xywh into xyxy; nothing where it is not four numbers."""
    try:
        x, y, width, height = (float(value) for value in bbox)
    except WRONG:
        return ()
    return (x, y, x + width, y + height)


def texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts, or a single one."""
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def is_true(value: Any) -> bool:
    """Read a flag, which some exports write as text: "0" and "False" are no more true than 0."""
    if isinstance(value, str):
        return value.strip().lower() not in _NOT_TRUE
    return bool(value) and value == value  # What a table lacks is NaN.
