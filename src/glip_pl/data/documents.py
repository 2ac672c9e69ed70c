"""From COCO-shaped JSON, whose images lie in a given folder, to a set of annotations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import ImageRecord, Problems, name_of, usable_boxes, usable_images
from glip_pl.data.formats import Annotation, AnnotationSet, Record
from glip_pl.data.formats.checks import UNKNOWN_CATEGORY, note
from glip_pl.data.formats.spans import SPAN_OUTSIDE, checked_spans
from glip_pl.data.formats.values import texts


def detection_set(
    document: dict[str, Any], folder: Path, known: set[int], problems: Problems
) -> AnnotationSet:
    """Collect the boxes of every usable image.

    Args:
        document: What `read_annotations` gave.
        folder: Where the image files lie.
        known: The ids of the categories.
        problems: Gains what is left out.

    Returns:
        The records; the categories' names are not in it.
    """
    images = usable_images(document, folder, problems)
    found: dict[int, list[Annotation]] = {i: [] for i in images}
    for record, entry, box in usable_boxes(document, images, problems):
        category = entry.get("category_id", -1)
        if category not in known:
            note(problems, UNKNOWN_CATEGORY, name_of(entry))
        else:
            crowd = bool(entry.get("iscrowd", 0))
            found[record.image_id].append(Annotation(box, category, crowd=crowd))
    return _join(images, found, folder)


def phrase_set(document: dict[str, Any], folder: Path, problems: Problems) -> AnnotationSet:
    """Collect the boxes of every usable image that are linked to words of its caption.

    An annotation may name the kinds of its phrase under ``phrase_types`` (["people"]).
    """
    images = usable_images(document, folder, problems)
    captions = {i: entry.get("caption") for i, (_, entry) in images.items()}
    links: dict[int, list[Annotation]] = {i: [] for i in images}
    for record, entry, box in usable_boxes(document, images, problems):
        spans = checked_spans(entry.get("tokens_positive"), str(captions[record.image_id] or ""))
        if spans is None:
            note(problems, SPAN_OUTSIDE, name_of(entry))
            continue
        crowd, score = bool(entry.get("iscrowd", 0)), entry.get("score")
        score = None if score is None else float(score)
        types = texts(entry.get("phrase_types"))
        links[record.image_id].append(Annotation(box, None, spans, crowd, score, types))
    return _join(images, links, folder)


def sentence_set(document: dict[str, Any], folder: Path, problems: Problems) -> AnnotationSet:
    """Collect the boxes of every usable image, whose caption speaks of them as a whole.

    An image that has lost a box is left out, since its caption would speak of too few.
    """
    entries = [entry for entry in document["annotations"] if not entry.get("empty")]
    document = {**document, "annotations": entries}
    images = usable_images(document, folder, problems)
    boxes: dict[int, list[Annotation]] = {i: [] for i in images}
    for record, _, box in usable_boxes(document, images, problems):
        boxes[record.image_id].append(Annotation(box))
    counts = Counter(entry.get("image_id") for entry in entries)
    for i in [i for i in images if len(boxes[i]) < counts[i]]:
        note(problems, "caption of an unusable box", f"image {i}")
        del images[i]
    return _join(images, boxes, folder)


def _join(
    images: Mapping[int, tuple[ImageRecord, Mapping[str, Any]]],
    annotations: Mapping[int, Sequence[Annotation]],
    folder: Path,
) -> AnnotationSet:
    """Join the images that `usable_images` gave with what each shows."""
    records = []
    for i, (image, entry) in images.items():
        caption = None if entry.get("caption") is None else str(entry["caption"])
        records.append(
            Record(i, entry["file_name"], image.size, tuple(annotations[i]), caption=caption)
        )
    return AnnotationSet(folder, records)
