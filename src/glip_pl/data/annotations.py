"""What annotations of any form have in common: problems, and the boxes and images they speak of.

A bad record is left out and counted, so that one wrong box does not end a run; a file that cannot
be what it should be is an error.
"""

from collections.abc import Mapping
from typing import Any

Problems = dict[str, list[str]]
Box = tuple[float, float, float, float]


def name_of(entry: Mapping[str, Any]) -> str:
    """Name an annotation in a message."""
    return f"annotation {entry.get('id', '?')} of image {entry.get('image_id', '?')}"
