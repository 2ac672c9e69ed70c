"""MDETR's JSON: COCO-shaped, where an image entry is one caption and an annotation one link.

GoldG comes in this form ("final_flickr_separateGT_train.json", "final_mixed_train.json"). An
annotation links a box, xywh pixels, with character spans of the caption (``tokens_positive``). The
``category_id`` is a filler that every annotation shares. Where a picture comes from
(``original_img_id``, ``dataset_name``, ``sentence_id``) is not kept: captions of one picture share
its file name. ``phrase_types`` of an annotation is our addition. See https://github.com/ashkamath/mdetr.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from glip_pl.data.annotations import Problems, name_of
from glip_pl.data.formats.coco import entries
from glip_pl.data.formats.coco.coco_json import (
    box_entry,
    image_entry,
    json_ends,
    read_document,
    write_lists,
)
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.caption_spans import (
    NO_CAPTION,
    NO_LINK_LEFT,
    SPAN_OUTSIDE,
    checked_spans,
    refuse_unlinked,
)
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.json_pieces import JsonDocument
from glip_pl.data.formats.common.paths import FolderFinder, sources
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.values import objects, texts, whole_number

_ENTRY = re.compile(rb"\{[^{}]*\}")
_CAPTION = re.compile(rb'"caption"\s*:')
# Some exports of detection write `"caption": null` into every image.
_WORDS = re.compile(_CAPTION.pattern + rb'\s*"\s*[^"\s]')
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
        files = sources(path, (".json",), _may_have_captions, needed=self.name)
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
            write_lists(folder / f"{split}.json", _lists(annotation_set.records))


def _has_captions(file: Path, words: re.Pattern[bytes] = _WORDS) -> bool:
    """Look for an image entry with a caption; COCO's caption files have it in annotations."""
    ends = json_ends(file)
    if b'"images"' not in ends and b'"annotations"' not in ends:
        return False
    return b'"tokens_positive"' in ends or any(
        b'"file_name"' in entry[0] and words.search(entry[0]) for entry in _ENTRY.finditer(ends)
    )


def _may_have_captions(file: Path) -> bool:
    """Look for an image entry with a place for a caption, where the form is known."""
    return _has_captions(file, _CAPTION)


def _read_file(file: Path) -> AnnotationSet:
    document = read_document(file, ("images", "annotations"))
    listed = objects(document.lists["images"])
    if listed and not any("caption" in entry for entry in listed):
        raise ValueError(
            f"no image entry of {str(file)!r} has a caption, so it is not in MDETR's form; "
            "read it as coco"
        )
    return read_captions(document, FolderFinder(file))


def read_json(file: Path, find_folder: FolderFinder, *, whole: bool = False) -> AnnotationSet:
    """Read a lone file; see `read_captions`.

    Raises:
        ValueError: It cannot be read.
    """
    document = read_document(file, ("images", "annotations"))
    return read_captions(document, find_folder, whole=whole)


def read_captions(
    document: JsonDocument, find_folder: FolderFinder, *, whole: bool = False
) -> AnnotationSet:
    """Read captions and boxes of a file that `coco_json.read_document` has found.

    A caption whose boxes are all left out is left out as well: it would say that the image shows
    nothing of it.

    Args:
        document: The lists.
        find_folder: Finds the folder of the images by some of their names.
        whole: Whether every box shows its caption as a whole, whatever its spans are.
    """
    problems: Problems = {}
    listed, linked = objects(document.lists["images"]), objects(document.lists["annotations"])
    named = entries.named_images(listed, problems)
    once = entries.without_repeats(named, problems)
    sources = {
        whole_number(entry.get("id")) or 0: str(entry.get("data_source") or "") for entry in listed
    }
    folder = find_folder((record.file_name for record in named), problems)
    captioned = {i: record for i, record in once.items() if (record.caption or "").strip()}
    for i in once.keys() - captioned.keys():
        note(problems, NO_CAPTION, f"{i} of {once[i].file_name}")
    records = entries.found_images(captioned, folder, sources)
    # gRefCOCO in this form says "empty" of a caption that speaks of nothing in the image.
    boxes = [entry for entry in linked if not entry.get("empty")]
    links: dict[int, list[Annotation]] = {image_id: [] for image_id in records}
    left_out = Counter[int]()
    known = {record.image_id for record in named}
    for record, entry, box in entries.boxes_of(boxes, known, records, problems):
        link = box and _link(entry, box, record.caption or "", whole, problems)
        if link is None:
            left_out[record.image_id] += 1
        else:
            links[record.image_id].append(link)
    unread = entries.unread_of(linked, ("segmentation", "keypoints"))
    if lonely := _phrases_without_box(listed, records, links):
        unread["phrase of tokens_positive_eval without a box"] = lonely
    joined = []
    for i, record in records.items():
        if left_out[i] and not links[i]:
            note(problems, NO_LINK_LEFT, f"{i} of {record.file_name}")
        else:
            joined.append(replace(record, annotations=tuple(links[i]), left_out=left_out[i]))
    return AnnotationSet(folder.path, joined, problems=problems, unread=unread)


def _link(
    entry: Mapping[str, Any], box: Annotation, caption: str, whole: bool, problems: Problems
) -> Annotation | None:
    """Add the words that a box shows; None where the caption does not have them."""
    spans = ((0, len(caption)),) if whole else checked_spans(entry.get("tokens_positive"), caption)
    if spans is None:
        note(problems, SPAN_OUTSIDE, name_of(entry))
        return None
    return replace(box, tokens_positive=spans, phrase_types=texts(entry.get("phrase_types")))


def _phrases_without_box(
    listed: Any, records: Mapping[int, Record], links: Mapping[int, list[Annotation]]
) -> int:
    """Count the phrases that MDETR would evaluate though no box shows them."""
    lonely = 0
    for entry in objects(listed):
        record = records.get(whole_number(entry.get("id")) or 0)
        wanted = entry.get("tokens_positive_eval")
        if record is not None and isinstance(wanted, list):
            shown = {link.tokens_positive for link in links[record.image_id]}
            lonely += sum(checked_spans(s, record.caption or "") not in shown for s in wanted)
    return lonely


def _lists(records: Sequence[Record]) -> dict[str, Iterable[dict[str, Any]]]:
    """Make the lists of a split; captions are numbered anew where ids repeat."""
    known = columns_of(records).image_ids
    unique = len(np.unique(known)) == len(known)
    ids: Sequence[int] = known.tolist() if unique else range(1, len(known) + 1)
    pictures: dict[str, int] = {}
    links = ((i, link) for i, r in zip(ids, records, strict=True) for link in r.annotations)
    return {
        "images": (
            image_entry(record, i)
            | {
                "caption": record.caption,
                "original_img_id": pictures.setdefault(record.file_name, i),
                "tokens_positive_eval": list(
                    dict.fromkeys(link.tokens_positive for link in record.annotations)
                ),
            }
            for i, record in zip(ids, records, strict=True)
        ),
        "annotations": (
            {"id": number, "image_id": i, **box_entry(link), "category_id": 1}
            | {"tokens_positive": link.tokens_positive}
            | ({"phrase_types": link.phrase_types} if link.phrase_types else {})
            for number, (i, link) in enumerate(links, start=1)
        ),
        "categories": _CATEGORIES,
    }
