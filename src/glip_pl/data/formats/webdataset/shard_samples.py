"""What shards have beside an image: its records as JSON, or the caption of somebody else's set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.caption_spans import NO_CAPTION, SPAN_OUTSIDE, checked_spans
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.decoders import open_image
from glip_pl.data.formats.common.json_keys import read_json
from glip_pl.data.formats.common.records import Annotation, Record
from glip_pl.data.formats.common.values import WRONG, size_of, texts

TEXTS = ("json", "txt")
UNNUMBERED = -1
NO_SAMPLE = "sample without an image, or without a json or txt"
BROKEN = "sample whose json or image cannot be read"
_ORIENTATION = 0x0112  # The EXIF tag.


def to_json(records: Sequence[Record]) -> dict[str, Any]:
    """Make the JSON of the records of one image; what a record lacks is left out."""
    first = records[0]
    return {
        "file_name": first.file_name,
        "height": first.size[0],
        "width": first.size[1],
        "records": [_record_to_json(record) for record in records],
    }


def split_name(member: str) -> tuple[str, str]:
    """Split the name of a shard's file into the key of its sample and its ending in small letters.

    The ending starts at the first dot of the name behind the last slash, as in WebDataset.
    """
    folder, slash, name = member.rpartition("/")
    key, _, end = name.partition(".")
    return folder + slash + key, end.lower()


def sample_records(
    texts: Mapping[str, bytes], image: Callable[[], bytes], file_name: str, problems: Problems
) -> list[Record]:
    """Read the records of a sample.

    Args:
        texts: The bytes of its "json" and "txt".
        image: Reads the bytes of its image; called only where nothing else tells the size.
        file_name: Where the image is.
        problems: Gains what is left out, or clipped.

    Returns:
        The records; those of other people's captions have the id `UNNUMBERED`.
    """
    try:
        document = read_json(texts.get("json", b"{}"))
        if "records" in document:
            records = _from_json(document, file_name)
        else:
            caption = texts["txt"].decode() if "txt" in texts else document.get("caption")
            if not isinstance(caption, str) or not caption.strip():
                note(problems, NO_CAPTION, file_name)
                return []
            size = _size(document, image)
            records = [Record(UNNUMBERED, file_name, size, caption=caption)]
    except (OSError, *WRONG) as error:
        note(problems, BROKEN, f"{file_name} ({error})")
        return []
    return [_checked(record, problems) for record in records]


def _size(document: Mapping[str, Any], image: Callable[[], bytes]) -> tuple[int, int]:
    height, width = document.get("height"), document.get("width")
    if type(height) is int and type(width) is int:
        return height, width
    return _upright_size(image())


def _upright_size(image: bytes) -> tuple[int, int]:
    """Read (height, width) of an image file's bytes, after its EXIF orientation is applied."""
    with open_image(BytesIO(image)) as file:
        turned = file.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (file.width, file.height) if turned else (file.height, file.width)


def _checked(record: Record, problems: Problems) -> Record:
    """Leave out the boxes that are wrong."""
    kept = []
    for i, annotation in enumerate(record.annotations):
        named = f"box {i} of {record.file_name}"
        box, kind = checked_box(annotation.box, record.size)
        note(problems, kind, named)
        spans = annotation.tokens_positive
        if spans and checked_spans(spans, record.caption or "") is None:
            note(problems, SPAN_OUTSIDE, named)
        elif box is not None:
            kept.append(replace(annotation, box=box) if kind else annotation)
    return replace(record, annotations=tuple(kept))


def _from_json(document: Mapping[str, Any], file_name: str) -> list[Record]:
    """Read what `to_json` made, of an image that is now at `file_name`."""
    size = size_of(document)
    return [_record(entry, file_name, size) for entry in document["records"]]


def _record_to_json(record: Record) -> dict[str, Any]:
    fields = {
        "caption": record.caption,
        "absent": record.absent,
        "not_exhaustive": record.not_exhaustive or None,
    }
    return {
        "image_id": record.image_id,
        "annotations": [_annotation_to_json(annotation) for annotation in record.annotations],
        **{key: value for key, value in fields.items() if value is not None},
    }


def _annotation_to_json(annotation: Annotation) -> dict[str, Any]:
    fields = {
        "category": annotation.category,
        "tokens_positive": annotation.tokens_positive or None,
        "crowd": annotation.crowd or None,
        "score": annotation.score,
        "phrase_types": annotation.phrase_types or None,
    }
    held = {key: value for key, value in fields.items() if value is not None}
    return {"box": annotation.box, **held}


def _record(entry: Mapping[str, Any], file_name: str, size: tuple[int, int]) -> Record:
    absent, caption = entry.get("absent"), entry.get("caption")
    return Record(
        int(entry["image_id"]),
        file_name,
        size,
        tuple(_annotation(annotation) for annotation in entry["annotations"]),
        None if caption is None else str(caption),
        None if absent is None else tuple(int(category) for category in absent),
        tuple(int(category) for category in entry.get("not_exhaustive", ())),
    )


def _annotation(entry: Mapping[str, Any]) -> Annotation:
    x1, y1, x2, y2 = (float(value) for value in entry["box"])
    return Annotation(
        (x1, y1, x2, y2),
        None if entry.get("category") is None else int(entry["category"]),
        tuple((int(start), int(end)) for start, end in entry.get("tokens_positive", ())),
        bool(entry.get("crowd", False)),
        None if entry.get("score") is None else float(entry["score"]),
        texts(entry.get("phrase_types")),
    )
