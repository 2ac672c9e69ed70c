"""Captions of MDETR's JSON and the boxes that are linked with their words."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glip_pl.data.annotations import Problems, name_of
from glip_pl.data.formats.coco import entries
from glip_pl.data.formats.coco.coco_json import (
    read_document,
)
from glip_pl.data.formats.coco.listed_images import (
    ImageFields,
    RowsOfIds,
    found_images,
    named_images,
    without_repeats,
)
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.columns.kept import kept_set
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.caption_spans import (
    NO_CAPTION,
    NO_LINK_LEFT,
    SPAN_OUTSIDE,
    checked_spans,
)
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.json_pieces import JsonDocument, JsonList
from glip_pl.data.formats.common.paths import FolderFinder
from glip_pl.data.formats.common.records import Annotation, AnnotationSet
from glip_pl.data.formats.common.values import objects, texts, whole_number

KEYS = ("images", "annotations")


def read_json(file: Path, find_folder: FolderFinder, *, whole: bool = False) -> AnnotationSet:
    """Read a lone file.

    A caption whose boxes are all left out is left out as well: it would say that the image shows
    nothing of it.

    Args:
        file: The file.
        find_folder: Finds the folder of the images by some of their names.
        whole: Whether every box shows its caption as a whole, whatever its spans are.

    Raises:
        ValueError: It cannot be read.
    """

    def read(place: Path | None) -> tuple[AnnotationSet, str]:
        document = read_document(file, KEYS)
        return _read_captions(document, find_folder, whole, place), document.digest

    return kept_set(file, f"mdetr {whole} {find_folder}", read)


def _read_captions(
    document: JsonDocument, find_folder: FolderFinder, whole: bool, place: Path | None
) -> AnnotationSet:
    problems: Problems = {}
    listed = document.lists["images"]
    named = named_images(listed, problems, entries.image_record, _CaptionFields)
    once = without_repeats(named, problems)
    folder = find_folder(named.file_names(), problems)
    captioned = np.array([bool(caption.strip()) for caption in once.captions()], bool)
    for record in once.take(~captioned):
        note(problems, NO_CAPTION, f"{record.image_id} of {record.file_name}")
    usable = found_images(once.take(captioned), folder, _sources(listed))
    builder = ColumnsBuilder(place)
    builder.add_images_of(usable)
    links = _LinkReader(RowsOfIds(named.image_ids, usable.image_ids), usable, whole, problems)
    for piece in document.lists["annotations"].pieces:
        builder.add_annotations(*links.read(objects(piece.values())))
    records = builder.finish(links.left_out)
    unread = dict(links.unread)
    if lonely := _phrases_without_box(listed, links.rows, records):
        unread["phrase of tokens_positive_eval without a box"] = lonely
    lost = (records.left_out > 0) & (records.box_counts == 0)
    for record in records.take(lost):
        note(problems, NO_LINK_LEFT, f"{record.image_id} of {record.file_name}")
    return AnnotationSet(folder.path, records.take(~lost), problems=problems, unread=unread)


def _sources(listed: JsonList) -> dict[int, str]:
    """Read the folder below that of the images that each may lie in, where it says one."""
    return {
        whole_number(entry.get("id")) or 0: sys.intern(str(entry["data_source"]))
        for piece in listed.pieces
        if piece.mentions("data_source")
        for entry in objects(piece.values())
        if entry.get("data_source")
    }


class _CaptionFields(ImageFields, gc=False):
    """What a well-formed image entry of MDETR has."""

    caption: str | None = None

    @classmethod
    def lists(cls, entries: Sequence[Any]) -> dict[str, Any]:
        """Return the captions."""
        return {"captions": [entry.caption for entry in entries]}


class _LinkReader:
    """Reads the annotations that link boxes with words of captions.

    Attributes:
        rows: The row of each image among the usable ones.
        left_out: How many boxes each has lost.
        unread: How many annotations have what a set does not keep.
    """

    def __init__(
        self, rows: RowsOfIds, images: ColumnRecords, whole: bool, problems: Problems
    ) -> None:
        self.rows, self._whole, self._problems = rows, whole, problems
        self._sizes, self._captions = images.sizes.tolist(), list(images.captions())
        self.left_out = np.zeros(len(images), np.int64)
        self.unread: Counter[str] = Counter()

    def read(self, listed: Sequence[dict[str, Any]]) -> tuple[list[int], list[Annotation]]:
        """Return the image, as a row, and the box of each usable link."""
        rows, links = list[int](), list[Annotation]()
        self.unread.update(entries.unread_of(listed, ("segmentation", "keypoints")))
        for row, entry in zip(self.rows.of(listed, "image_id"), listed, strict=True):
            # gRefCOCO in this form says "empty" of a caption of what is not in the image.
            if entry.get("empty") or row == RowsOfIds.UNUSABLE:
                continue
            if row == RowsOfIds.UNKNOWN:
                note(self._problems, checks.UNKNOWN_IMAGE, name_of(entry))
                continue
            height, width = self._sizes[row]
            box = entries.read_box(entry, (height, width), self._problems)
            link = box and self._with_words(entry, box, self._captions[row])
            if link is None:
                self.left_out[row] += 1
            else:
                rows.append(row)
                links.append(link)
        return rows, links

    def _with_words(
        self, entry: Mapping[str, Any], box: Annotation, caption: str
    ) -> Annotation | None:
        """Add the words that a box shows; None where the caption does not have them."""
        whole = ((0, len(caption)),)
        spans = whole if self._whole else checked_spans(entry.get("tokens_positive"), caption)
        if spans is None:
            note(self._problems, SPAN_OUTSIDE, name_of(entry))
            return None
        return replace(box, tokens_positive=spans, phrase_types=texts(entry.get("phrase_types")))


def _phrases_without_box(listed: JsonList, rows: RowsOfIds, records: ColumnRecords) -> int:
    """Count the phrases that MDETR would evaluate though no box shows them."""
    lonely = 0
    for piece in listed.pieces:
        if not piece.mentions("tokens_positive_eval"):
            continue
        images = objects(piece.values())
        for row, entry in zip(rows.of(images, "id"), images, strict=True):
            wanted = entry.get("tokens_positive_eval")
            if row >= 0 and isinstance(wanted, list):
                record = records[row]
                shown = {link.tokens_positive for link in record.annotations}
                lonely += sum(checked_spans(s, record.caption or "") not in shown for s in wanted)
    return lonely
