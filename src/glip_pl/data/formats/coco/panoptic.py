"""Panoptic COCO: JSON whose annotations are images, each with segments that have boxes.

``panoptic_val2017.json`` beside a folder of PNG files, which are not needed: every segment has the
box around it. Things become boxes; what cannot be counted (sky, grass: ``isthing`` 0) has none and
is told as not read. See https://cocodataset.org/#format-data.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from glip_pl.data.annotations import Problems, name_of
from glip_pl.data.formats.coco import entries
from glip_pl.data.formats.coco.coco_json import json_ends, read_document
from glip_pl.data.formats.coco.listed_images import (
    RowsOfIds,
    found_images,
    named_images,
    without_repeats,
)
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.columns.kept import kept_set
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.json_pieces import JsonDocument
from glip_pl.data.formats.common.paths import FolderFinder, sources
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Splits
from glip_pl.data.formats.common.values import objects, whole_number

STUFF = "segment of what cannot be counted"


class CocoPanoptic(Format):
    """Panoptic COCO; read only, since a box has no outline."""

    name: ClassVar[str] = "coco_panoptic"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "crowd"})
    yields: ClassVar[bool] = True

    def detect(self, path: Path) -> bool:
        """Recognise by the segments in JSON files."""
        return bool(sources(path, (".json",), _is_panoptic))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a JSON file, or those of a folder or of its ``annotations``."""
        files = sources(path, (".json",), _is_panoptic, needed=self.name)
        return Splits({split: partial(_read_file, file, split) for split, file in files.items()})

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Refuse: a box has no outline.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"the format {self.name} is read only; write coco instead")


def _is_panoptic(file: Path) -> bool:
    return b'"segments_info"' in json_ends(file)


def _read_file(file: Path, split: str) -> AnnotationSet:
    folder = FolderFinder(file, None if split == "all" else split)

    def read(place: Path | None) -> tuple[AnnotationSet, str]:
        document = read_document(file)
        return _read_segments(document, folder, place), document.digest

    return kept_set(file, f"coco_panoptic {folder}", read)


def _read_segments(
    document: JsonDocument, find_folder: FolderFinder, place: Path | None
) -> AnnotationSet:
    problems: Problems = {}
    categories = objects(document.lists["categories"])
    stuff = {whole_number(c.get("id")) for c in categories if c.get("isthing", 1) in (0, False)}
    names = checks.names_by_id(
        (c for c in categories if whole_number(c.get("id")) not in stuff), problems
    )
    named = named_images(document.lists["images"], problems, entries.image_record)
    listed = without_repeats(named, problems)
    folder = find_folder(named.file_names(), problems)
    usable = found_images(listed, folder)
    builder = ColumnsBuilder(place)
    builder.add_images_of(usable)
    rows, sizes = RowsOfIds(named.image_ids, usable.image_ids), usable.sizes.tolist()
    left_out, uncounted = np.zeros(len(usable), np.int64), 0
    for piece in document.lists["annotations"].pieces:
        shown, boxes = list[int](), list[Annotation]()
        images = objects(piece.values())
        for row, entry in zip(rows.of(images, "image_id"), images, strict=True):
            if row == RowsOfIds.UNKNOWN:
                note(problems, checks.UNKNOWN_IMAGE, name_of(entry))
            for segment in objects(entry.get("segments_info")) if row >= 0 else ():
                if whole_number(segment.get("category_id")) in stuff:
                    uncounted += 1
                    continue
                told = segment | {"image_id": entry.get("image_id")}
                height, width = sizes[row]
                box = entries.read_box(told, (height, width), problems, names)
                if box is None:
                    left_out[row] += 1
                else:
                    shown.append(row)
                    boxes.append(box)
        builder.add_annotations(shown, boxes)
    unread = {STUFF: uncounted} if uncounted else {}
    records = builder.finish(left_out)
    return AnnotationSet(folder.path, records, names, problems=problems, unread=unread)
