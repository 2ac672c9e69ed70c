"""From COCO-shaped JSON, whose images lie in a given folder, to a set of annotations."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import Box, Problems, name_of
from glip_pl.data.formats import Annotation, AnnotationSet, Record
from glip_pl.data.formats.coco.coco_json import read_boxes
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.caption_spans import SPAN_OUTSIDE, checked_spans
from glip_pl.data.formats.common.checks import checked_box, file_problem, note
from glip_pl.data.formats.common.values import (
    WRONG,
    corners,
    is_true,
    objects,
    size_of,
    texts,
    whole_number,
)


def detection_set(
    document: Mapping[str, Any], folder: Path, names: Mapping[int, str], problems: Problems
) -> AnnotationSet:
    """Collect the boxes of every usable image.

    Args:
        document: What `read_annotations` gave.
        folder: Where the image files lie.
        names: The categories by id.
        problems: Gains what is left out or changed.
    """
    images, listed = _images(document, folder, problems)
    found = read_boxes(document["annotations"], listed, images, names, problems)
    return _join(images, found, folder)


def phrase_set(document: Mapping[str, Any], folder: Path, problems: Problems) -> AnnotationSet:
    """Collect the boxes of every usable image that are linked to words of its caption.

    An annotation may name the kinds of its phrase under ``phrase_types`` (["people"]).
    """
    images, listed = _images(document, folder, problems)
    links: dict[int, list[Annotation]] = {i: [] for i in images}
    for image, entry, box in _boxes(document["annotations"], listed, images, problems):
        spans = checked_spans(entry.get("tokens_positive"), image.caption or "")
        if spans is None:
            note(problems, SPAN_OUTSIDE, name_of(entry))
            continue
        try:
            score = None if entry.get("score") is None else float(entry["score"])
        except WRONG:
            note(problems, checks.NO_SCORE, f"{name_of(entry)}: {entry['score']}")
            continue
        crowd, types = is_true(entry.get("iscrowd", 0)), texts(entry.get("phrase_types"))
        links[image.image_id].append(Annotation(box, None, spans, crowd, score, types))
    return _join(images, links, folder)


def sentence_set(document: Mapping[str, Any], folder: Path, problems: Problems) -> AnnotationSet:
    """Collect the boxes of every usable image, whose caption speaks of them as a whole.

    An image that has lost a box is left out, since its caption would speak of too few.
    """
    entries = [entry for entry in objects(document["annotations"]) if not entry.get("empty")]
    images, listed = _images(document, folder, problems)
    boxes: dict[int, list[Annotation]] = {i: [] for i in images}
    for image, _, box in _boxes(entries, listed, images, problems):
        boxes[image.image_id].append(Annotation(box))
    counts = Counter(whole_number(entry.get("image_id")) for entry in entries)
    for i in [i for i in images if len(boxes[i]) < counts[i]]:
        note(problems, "caption of an unusable box", f"image {i}")
        del images[i]
    return _join(images, boxes, folder)


def _images(
    document: Mapping[str, Any], folder: Path, problems: Problems
) -> tuple[dict[int, Record], set[int]]:
    """Collect the images whose files exist: without boxes by their ids, and the ids of all."""
    images: dict[int, Record] = {}
    listed = set()
    for position, entry in enumerate(objects(document["images"])):
        try:
            image_id, size = int(entry["id"]), size_of(entry)
            name = str(entry["file_name"]).replace("\\", "/")
        except WRONG:
            note(problems, checks.NO_RECORD, f"image {position} of the list")
            continue
        caption = None if entry.get("caption") is None else str(entry["caption"])
        if image_id in listed:
            note(problems, checks.REPEATED_IMAGE, f"{image_id} of {name}")
        elif (kind := file_problem(str(folder), name)) is not None:
            note(problems, kind, str(folder / name))
        else:
            images[image_id] = Record(image_id, name, size, caption=caption)
        listed.add(image_id)
    return images, listed


def _boxes(
    entries: Sequence[Any], listed: set[int], images: Mapping[int, Record], problems: Problems
) -> Iterator[tuple[Record, Mapping[str, Any], Box]]:
    """Walk over the annotations whose image is usable and whose box lies in it."""
    for entry in objects(entries):
        image_id = whole_number(entry.get("image_id"))
        if image_id is None or image_id not in listed:
            note(problems, checks.UNKNOWN_IMAGE, name_of(entry))
        elif image_id in images:  # Else the image has been counted already.
            box, kind = checked_box(corners(entry.get("bbox")), images[image_id].size)
            note(problems, kind, f"{name_of(entry)}: {entry.get('bbox')}")
            if box is not None:
                yield images[image_id], entry, box


def _join(
    images: Mapping[int, Record], annotations: Mapping[int, Sequence[Annotation]], folder: Path
) -> AnnotationSet:
    """Join the images with what each shows."""
    records = [replace(record, annotations=tuple(annotations[i])) for i, record in images.items()]
    return AnnotationSet(folder, records)
