"""MDETR's JSON: COCO-shaped, where an image entry is one caption and an annotation one link.

GoldG comes in this form ("final_flickr_separateGT_train.json", "final_mixed_train.json"). An
annotation links a box, xywh pixels, with character spans of the caption (``tokens_positive``). The
``category_id`` is a filler that every annotation shares. Where a picture comes from
(``original_img_id``, ``dataset_name``, ``sentence_id``) is not kept: captions of one picture share
its file name. ``phrase_types`` of an annotation is our addition. See https://github.com/ashkamath/mdetr.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from glip_pl.data.annotations import Problems, name_of, read_annotations
from glip_pl.data.formats.coco.coco_json import box_entry, image_entry, json_ends
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.caption_spans import (
    NO_CAPTION,
    NO_LINK_LEFT,
    SPAN_OUTSIDE,
    checked_spans,
    refuse_unlinked,
)
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.paths import ImageFolder, sources
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.values import (
    WRONG,
    corners,
    is_true,
    objects,
    size_of,
    texts,
    whole_number,
)

NO_SCORE = "score that is no number"
_ENTRY = re.compile(rb"\{[^{}]*\}")
_CATEGORIES = [{"id": 1, "name": "object"}]


class Mdetr(Format):
    """MDETR-style phrase grounding in COCO-shaped JSON."""

    name: ClassVar[str] = "mdetr"
    holds: ClassVar[frozenset[str]] = frozenset({"captions", "crowd", "score", "phrase_types"})

    def detect(self, path: Path) -> bool:
        """Tell whether an image entry at either end of a JSON file has a caption."""
        return bool(sources(path, (".json",), _has_captions))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a JSON file, or those of a folder or of its ``annotations``."""
        files = sources(path, (".json",), _has_captions, needed=self.name)
        return Splits({split: partial(_read_file, file) for split, file in files.items()})

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``annotations/SPLIT.json`` and the images.

        Raises:
            ValueError: A record has no caption, or a box no phrase.
        """
        refuse_unlinked(sets, self.name)
        placed = place_images(sets, path / "images")
        folder = path / "annotations"
        folder.mkdir()
        for split, annotation_set in placed.items():
            (folder / f"{split}.json").write_text(json.dumps(_document(annotation_set.records)))


def _has_captions(file: Path) -> bool:
    """Look for an image entry with a caption; COCO's caption files have it in annotations."""
    ends = json_ends(file)
    if b'"images"' not in ends and b'"annotations"' not in ends:
        return False
    return b'"tokens_positive"' in ends or any(
        b'"file_name"' in entry[0] and b'"caption"' in entry[0] for entry in _ENTRY.finditer(ends)
    )


def _read_file(file: Path) -> AnnotationSet:
    document = read_annotations(file, ("images", "annotations"))
    entries = objects(document["images"])
    if entries and not any("caption" in entry for entry in entries):
        raise ValueError(
            f"no image entry of {str(file)!r} has a caption, so it is not in MDETR's form; "
            "read it as coco"
        )
    problems: Problems = {}
    unread: dict[str, int] = {}
    folder = ImageFolder.near(file, (str(entry.get("file_name")) for entry in entries), problems)
    records, listed = _captions(entries, folder)
    links: dict[int, list[Annotation]] = {image_id: [] for image_id in records}
    given = set()
    for entry in objects(document["annotations"]):
        image_id = whole_number(entry.get("image_id"))
        # gRefCOCO in this form says so of a caption that speaks of nothing in the image.
        if entry.get("empty"):
            continue
        if image_id in records:
            given.add(image_id)
            _add_link(entry, records[image_id], links[image_id], problems)
            if entry.get("segmentation"):
                unread["segmentation"] = unread.get("segmentation", 0) + 1
        elif image_id not in listed:
            note(problems, checks.UNKNOWN_IMAGE, name_of(entry))
    lonely = _phrases_without_box(entries, records, links)
    if lonely:
        unread["phrase of tokens_positive_eval without a box"] = lonely
    joined = []
    for i, record in records.items():
        if i in given and not links[i]:
            note(problems, NO_LINK_LEFT, f"{i} of {record.file_name}")
        else:
            joined.append(Record(i, record.file_name, record.size, tuple(links[i]), record.caption))
    return AnnotationSet(folder.path, joined, problems=problems, unread=unread)


def _captions(
    entries: Sequence[Mapping[str, Any]], folder: ImageFolder
) -> tuple[dict[int, Record], set[int | None]]:
    """Read the image entries: the usable ones by id, and the ids of all."""
    records: dict[int, Record] = {}
    listed: set[int | None] = set()
    for position, entry in enumerate(entries):
        try:
            image_id, file_name = int(entry["id"]), str(entry["file_name"])
            size = size_of(entry)
        except WRONG:
            note(folder.problems, checks.NO_RECORD, f"image {position} of the list")
            continue
        caption = entry.get("caption")
        if image_id in listed:
            note(folder.problems, checks.REPEATED_IMAGE, f"{image_id} of {file_name}")
        elif not isinstance(caption, str) or not caption.strip():
            note(folder.problems, NO_CAPTION, f"{image_id} of {file_name}")
        elif (found := folder.find(file_name, str(entry.get("data_source") or ""))) is not None:
            records[image_id] = Record(image_id, found, size, caption=caption)
        listed.add(image_id)
    return records, listed


def _add_link(
    entry: Mapping[str, Any], record: Record, links: list[Annotation], problems: Problems
) -> None:
    box, wrong = checks.checked_box(corners(entry.get("bbox")), record.size)
    note(problems, wrong, name_of(entry))
    spans = checked_spans(entry.get("tokens_positive"), record.caption or "")
    if spans is None:
        note(problems, SPAN_OUTSIDE, name_of(entry))
        return
    try:
        score = None if entry.get("score") is None else float(entry["score"])
    except WRONG:
        note(problems, NO_SCORE, name_of(entry))
        return
    if box is not None:
        crowd, types = is_true(entry.get("iscrowd", 0)), texts(entry.get("phrase_types"))
        links.append(Annotation(box, None, spans, crowd, score, types))


def _phrases_without_box(
    entries: Sequence[Mapping[str, Any]],
    records: Mapping[int, Record],
    links: Mapping[int, list[Annotation]],
) -> int:
    """Count the phrases that MDETR would evaluate though no box shows them."""
    lonely = 0
    for entry in entries:
        record = records.get(whole_number(entry.get("id")) or 0)
        wanted = entry.get("tokens_positive_eval")
        if record is not None and isinstance(wanted, list):
            shown = {link.tokens_positive for link in links[record.image_id]}
            lonely += sum(checked_spans(s, record.caption or "") not in shown for s in wanted)
    return lonely


def _document(records: list[Record]) -> dict[str, Any]:
    """Make the JSON of a split; captions are numbered anew where ids repeat."""
    unique = len({record.image_id for record in records}) == len(records)
    pictures: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for position, record in enumerate(records, start=1):
        image_id = record.image_id if unique else position
        phrases = dict.fromkeys(link.tokens_positive for link in record.annotations)
        images.append(
            image_entry(record, image_id)
            | {
                "caption": record.caption,
                "original_img_id": pictures.setdefault(record.file_name, image_id),
                "tokens_positive_eval": list(phrases),
            }
        )
        for link in record.annotations:
            entry = {"id": len(annotations) + 1, "image_id": image_id, **box_entry(link)}
            entry |= {"category_id": 1, "tokens_positive": link.tokens_positive}
            if link.phrase_types:
                entry["phrase_types"] = link.phrase_types
            annotations.append(entry)
    return {"images": images, "annotations": annotations, "categories": _CATEGORIES}
