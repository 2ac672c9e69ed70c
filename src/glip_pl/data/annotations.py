"""What annotations of any form have in common: problems, and the boxes and images they speak of.

A bad record is left out and counted, so that one wrong box does not end a run; a file that cannot
be what it should be is an error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Problems = dict[str, list[str]]
Box = tuple[float, float, float, float]

# COCO writes two decimals, so a box may end a little past its image without being wrong.
_ROUNDING = 0.1


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


def read_annotations(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Read a COCO-shaped JSON file that must hold a list under each key.

    Raises:
        ValueError: The file is missing, is no JSON or lacks a key.
    """
    advice = "pass --data.root=PATH (with make: DATA_ROOT=PATH) or correct `annotations` in data.*"
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"there is no annotation file {str(path)!r}; {advice}") from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(path)!r}: {error}; {advice}"
        ) from error
    held = document if isinstance(document, dict) else {}
    lacking = [key for key in keys if not isinstance(held.get(key), list)]
    if lacking:
        if lacking == ["categories"]:
            advice += "; captions with boxes are read by glip_pl.data.PhraseGrounding"
        raise ValueError(
            f"{str(path)!r} is not in COCO form: it has no list {' or '.join(lacking)}; {advice}"
        )
    return held


def name_of(entry: Mapping[str, Any]) -> str:
    """Name an annotation in a message."""
    return f"annotation {entry.get('id', '?')} of image {entry.get('image_id', '?')}"


def inside_image(box: Box, size: tuple[int, int]) -> tuple[Box | None, str | None]:
    """Clip a box to its image, or tell that nothing is left of it; both when it loses something.

    Args:
        box: xyxy pixels with an area.
        size: (height, width) in pixels.

    Returns:
        The part of the box inside the image, and the problem's name.
    """
    x1, y1 = max(box[0], 0.0), max(box[1], 0.0)
    x2, y2 = min(box[2], float(size[1])), min(box[3], float(size[0]))
    if x1 >= x2 or y1 >= y2:
        return None, "box outside its image"
    cut = max(x1 - box[0], y1 - box[1], box[2] - x2, box[3] - y2)
    return (x1, y1, x2, y2), "box clipped to its image" if cut > _ROUNDING else None
