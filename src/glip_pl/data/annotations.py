"""What annotations of any form have in common: problems, and the boxes and images they speak of.

A bad record is left out and counted, so that one wrong box does not end a run; a file that cannot
be what it should be is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Problems = dict[str, list[str]]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageRecord:
    """An image of a data set.

    Attributes:
        image_id: The data set's id.
        path: The image file.
        size: (height, width) in pixels.
    """

    image_id: int
    path: Path
    size: tuple[int, int]


def name_of(entry: Mapping[str, Any]) -> str:
    """Name an annotation in a message."""
    return f"annotation {entry.get('id', '?')} of image {entry.get('image_id', '?')}"
