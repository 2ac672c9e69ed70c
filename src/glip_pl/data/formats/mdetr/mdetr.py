"""MDETR's JSON: COCO-shaped, where an image entry is one caption and an annotation one link.

GoldG comes in this form ("final_flickr_separateGT_train.json", "final_mixed_train.json"). An
annotation links a box, xywh pixels, with character spans of the caption (``tokens_positive``). The
``category_id`` is a filler that every annotation shares. Where a picture comes from
(``original_img_id``, ``dataset_name``, ``sentence_id``) is not kept: captions of one picture share
its file name. ``phrase_types`` of an annotation is our addition. See https://github.com/ashkamath/mdetr.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from glip_pl.data.formats.coco.coco_json import (
    box_entry,
    has_words,
    image_entry,
    json_ends,
    read_document,
    write_lists,
)
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.caption_spans import (
    refuse_unlinked,
)
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.paths import FolderFinder, sources
from glip_pl.data.formats.common.records import AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.mdetr.linked_captions import KEYS, read_json

_ENTRY = re.compile(rb"\{[^{}]*\}")
_CAPTION = re.compile(rb'"caption"\s*:')
_CATEGORIES = [{"id": 1, "name": "object"}]


class Mdetr(Format):
    """MDETR-style phrase grounding in COCO-shaped JSON."""

    name: ClassVar[str] = "mdetr"
    holds: ClassVar[frozenset[str]] = frozenset({"captions", "crowd", "score", "phrase_types"})

    def detect(self, path: Path) -> bool:
        """Return whether an image entry at either end of a JSON file has a caption."""
        return bool(sources(path, (".json",), _is_linked))

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
            write_lists(folder / f"{split}.json", _lists(annotation_set.records))


def _is_linked(file: Path) -> bool:
    """Look for an image entry with a caption in words; COCO's captions have it in annotations."""
    ends = json_ends(file)
    return (b'"tokens_positive"' in ends or has_words(ends)) and _has_captions(file, has_words)


def _has_captions(file: Path, words: Callable[[bytes], object] = _CAPTION.search) -> bool:
    """Look for an image entry with a place for a caption, where the form is known."""
    ends = json_ends(file)
    if b'"images"' not in ends and b'"annotations"' not in ends:
        return False
    return b'"tokens_positive"' in ends or any(
        b'"file_name"' in entry[0] and words(entry[0]) for entry in _ENTRY.finditer(ends)
    )


def _read_file(file: Path) -> AnnotationSet:
    listed = read_document(file, KEYS).lists["images"].pieces
    if listed and not any(piece.mentions("caption") for piece in listed):
        raise ValueError(
            f"no image entry of {str(file)!r} has a caption, so it is not in MDETR's form; "
            "read it as coco"
        )
    return read_json(file, FolderFinder(file))


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
