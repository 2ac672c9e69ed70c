"""The JSON of COCO and LVIS, apart from how each describes an image."""

import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glip_pl.data.formats.common.json_pieces import JsonDocument
from glip_pl.data.formats.common.json_walk import open_document
from glip_pl.data.formats.common.records import Annotation, Record
from glip_pl.data.formats.common.text_files import encoding_of

PEEK = 1 << 16
_LINKED = b'"tokens_positive"'
# Some exports of detection write `"caption": null` into every image.
_WORDS = re.compile(rb'"caption"\s*:\s*"\s*[^"\s]')
_ADVICE = (
    "pass another file, or --data.root=PATH (with make: DATA_ROOT=PATH), or correct `annotations` "
    "in data.*"
)


def json_ends(file: Path) -> bytes:
    """Read the first and last bytes of a JSON object; nothing of any other file.

    The lists of a document come in any order, so that either end may tell what it is. What is in
    another encoding is returned in UTF-8.
    """
    with file.open("rb") as opened:
        head = opened.read(PEEK)
        opened.seek(max(len(head), file.stat().st_size // 4 * 4 - PEEK))
        ends = [head, opened.read()]
    encoding, _ = encoding_of(head)
    if encoding == "utf-8":  # Without a mark, or with its own.
        encoding = json.detect_encoding(head).removesuffix("-sig")
    if encoding != "utf-8":
        ends = [end.decode(encoding, "replace").encode(errors="replace") for end in ends]
    begin = ends[0].removeprefix(codecs.BOM_UTF8).lstrip()
    return b"".join(ends) if begin[:1] == b"{" else b""


def has_words(ends: bytes) -> bool:
    """Whether the ends of a file have captions in words, and boxes that may show their phrases.

    Detection has captions in some exports, too, and then boxes that no word is linked to.
    """
    return _WORDS.search(ends) is not None and (_LINKED in ends or b'"bbox"' not in ends)


def read_document(
    file: Path, keys: Sequence[str] = ("images", "annotations", "categories")
) -> JsonDocument:
    """Find the lists of a JSON file, of any size.

    Args:
        file: The file.
        keys: What it must have a list under.

    Raises:
        ValueError: The file is missing, no JSON, or lacks a list.
    """
    try:
        document = open_document(file)
    except FileNotFoundError:
        raise ValueError(f"there is no annotation file {str(file)!r}; {_ADVICE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(file)!r}: {error}; download or export it "
            f"again, or {_ADVICE}"
        ) from error
    lacking = [key for key in keys if key not in document.lists]
    if lacking:
        advice = _ADVICE
        if lacking == ["categories"]:
            advice += "; captions with boxes are read by glip_pl.data.PhraseGrounding"
        raise ValueError(
            f"{str(file)!r} is not in COCO form: it has no list {' or '.join(lacking)}; {advice}"
        )
    return document


def write_lists(file: Path, lists: Mapping[str, Iterable[dict[str, Any]]]) -> None:
    """Write a JSON object of lists, entry by entry, one list after the other."""
    with file.open("w") as opened:
        before = "{"
        for key, entries in lists.items():
            opened.write(f"{before}{json.dumps(key)}: [")
            for place, entry in enumerate(entries):
                opened.write((", " if place else "") + json.dumps(entry))
            before = "], "
        opened.write("]}")


def last_parts(name: str, depth: int) -> str:
    """Cut a path to its last parts; 0 keeps all."""
    return "/".join(name.split("/")[-depth:]) if depth else name


def box_entry(annotation: Annotation) -> dict[str, Any]:
    """Write a box as an annotation entry, without ids."""
    x1, y1, x2, y2 = annotation.box
    # The difference of two decimals has noise in its sixteenth digit.
    bbox = [round(value, 9) for value in (x1, y1, x2 - x1, y2 - y1)]
    entry = {
        "category_id": annotation.category,
        "bbox": bbox,
        "area": round(bbox[2] * bbox[3], 9),
        "iscrowd": int(annotation.crowd),
    }
    return entry if annotation.score is None else {**entry, "score": annotation.score}


def image_entry(record: Record, image_id: int) -> dict[str, Any]:
    """Write an image's entry."""
    height, width = record.size
    return {"id": image_id, "file_name": record.file_name, "height": height, "width": width}
