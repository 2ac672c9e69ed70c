"""COCO-shaped JSON: reading it, and checking each record once before anything is trained on it.

Detection sets and MDETR-style phrase sets share one form: a list of images, one of annotations.
A bad record is left out and counted, so that one wrong box does not end a run; a file that cannot
be what it should be is an error.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Problems = dict[str, list[str]]
Box = tuple[float, float, float, float]

# COCO writes two decimals, so a box may end a little past its image without being wrong.
_ROUNDING = 0.1
_EXAMPLES = 3


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


def usable_images(
    document: Mapping[str, Any], folder: Path, problems: Problems
) -> dict[int, tuple[ImageRecord, Mapping[str, Any]]]:
    """Collect the images whose files exist, by id, each with its entry of the JSON.

    Args:
        document: What `read_annotations` gave.
        folder: Where the image files lie.
        problems: Gains what is left out: images without a file and repeated ids.

    Raises:
        ValueError: An entry lacks ``id``, ``file_name``, ``height`` or ``width``.
    """
    images: dict[int, tuple[ImageRecord, Mapping[str, Any]]] = {}
    seen = set()
    for position, entry in enumerate(document["images"]):
        try:
            path = folder / entry["file_name"]
            size = (int(entry["height"]), int(entry["width"]))
            record = ImageRecord(int(entry["id"]), path, size)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"image {position} of the annotations has a missing or wrong value ({error!r}); "
                "every image needs a number as id, a file_name, a height and a width"
            ) from error
        if record.image_id in seen:
            problems.setdefault("repeated image id", []).append(f"{record.image_id} of {path.name}")
        elif not path.is_file():
            problems.setdefault("missing image file", []).append(str(path))
        else:
            images[record.image_id] = (record, entry)
        seen.add(record.image_id)
    return images


def usable_boxes(
    document: Mapping[str, Any], images: Mapping[int, Any], problems: Problems
) -> Iterator[tuple[ImageRecord, Mapping[str, Any], Box]]:
    """Walk over the annotations whose image is usable and whose box lies in it.

    Args:
        document: What `read_annotations` gave.
        images: What `usable_images` gave.
        problems: Gains what is left out, and the boxes that are clipped.

    Yields:
        The image, the annotation's entry of the JSON, and its box, xyxy pixels inside the image.
    """
    listed = {entry["id"] for entry in document["images"]}
    for entry in document["annotations"]:
        if entry.get("image_id") not in listed:
            kind: str | None = "annotation of an unknown image"
        elif entry["image_id"] not in images:
            continue  # Its image has been counted already.
        else:
            record = images[entry["image_id"]][0]
            box, kind = _checked_box(entry.get("bbox"), record.size)
            if box is not None:
                yield record, entry, box
        if kind is not None:
            problems.setdefault(kind, []).append(name_of(entry))


def name_of(entry: Mapping[str, Any]) -> str:
    """Name an annotation in a message."""
    return f"annotation {entry.get('id', '?')} of image {entry.get('image_id', '?')}"


def _checked_box(bbox: Any, size: tuple[int, int]) -> tuple[Box | None, str | None]:
    """Turn COCO's xywh into xyxy inside the image, or tell what is wrong; both when clipped."""
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        return None, "box that is not four numbers"
    if not all(math.isfinite(value) for value in (x, y, width, height)):
        return None, "box that is not four numbers"
    if width <= 0 or height <= 0:
        return None, "box without area"
    return inside_image((x, y, x + width, y + height), size)


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


def log_problems(source: Path, problems: Problems) -> None:
    """Warn once about everything that is wrong with a file, with a few examples of each kind."""
    lines = []
    for kind, found in problems.items():
        examples = ", ".join(found[:_EXAMPLES]) + (", ..." if len(found) > _EXAMPLES else "")
        verb = "clipped" if "clipped" in kind else "skipped"
        lines.append(f"{verb} {len(found)}: {kind} ({examples})")
    if lines:
        log.warning("%s:\n  %s", source, "\n  ".join(lines))
