"""COCO's detection JSON, which Objects365 and many exports share: xywh boxes, pixels.

A data set is a JSON file, a folder with ``annotations/*.json`` and the images in ``images``,
``images/SPLIT`` or ``SPLIT`` ("val2017" and "valid" are "val"), or Roboflow's
``SPLIT/_annotations.coco.json`` with the images beside it. See
https://cocodataset.org/#format-data.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.coco import entries
from glip_pl.data.formats.coco.box_columns import BoxReader
from glip_pl.data.formats.coco.coco_json import (
    PEEK,
    box_entry,
    has_words,
    image_entry,
    json_ends,
    read_document,
    write_lists,
)
from glip_pl.data.formats.coco.listed_images import (
    ImageFields,
    found_images,
    named_images,
    without_repeats,
)
from glip_pl.data.formats.columns.builder import ColumnsBuilder, columns_of
from glip_pl.data.formats.columns.kept import kept_set
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.detection_sets import as_detection, folder_split
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.json_pieces import JsonDocument
from glip_pl.data.formats.common.paths import (
    FolderFinder,
    reference_files,
    split_of,
)
from glip_pl.data.formats.common.records import AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.values import objects

# Keys that MDETR, LVIS and panoptic COCO have; MDETR and COCO's captions have words, too.
_OTHER_FORMS = re.compile(rb'"(tokens_positive|neg_category_ids|synset|segments_info)"\s*:')
_ROBOFLOW = "_annotations.coco.json"


class Coco(Format):
    """COCO detection; a ``score`` of an annotation tells that a detector drew it."""

    name: ClassVar[str] = "coco"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "crowd", "score"})
    image_fields: ClassVar[type[ImageFields]] = ImageFields

    def detect(self, path: Path) -> bool:
        """Recognise by the keys at both ends of JSON files; those of RefCOCO have references."""
        return not reference_files(path) and bool(self._candidates(path))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a JSON file, or one of each split in a folder."""
        if path.is_file():
            return Splits({"all": partial(self._read_file, path, split_of(path.stem))})
        files = self._files(path)
        if not files:
            raise ValueError(
                f"{str(path)!r} has no {self.name} JSON in annotations/ or in its folders of "
                "splits; pass the JSON file itself, or name another format"
            )
        return Splits(
            {split: partial(self._read_file, file, split) for split, file in files.items()}
        )

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``annotations/SPLIT.json`` and ``images``; boxes are rounded to 1e-9 pixels."""
        placed = place_images(as_detection(sets), path / "images")
        (path / "annotations").mkdir()
        for split, annotation_set in placed.items():
            write_lists(path / "annotations" / f"{split}.json", self.entries(annotation_set))

    def _is_form(self, ends: bytes) -> bool:
        """Recognise from the first and last bytes of a JSON file."""
        keys = (b'"bbox"', b'"categories"', b'"file_name"')
        whole = len(ends) < PEEK  # Label Studio's notes.json has categories alone.
        if whole and b'"images"' not in ends:
            return False
        is_other = _OTHER_FORMS.search(ends) is not None or has_words(ends)
        return any(key in ends for key in keys) and not is_other

    def _candidates(self, path: Path) -> list[Path]:
        if path.is_file():
            files = [path] if path.suffix == ".json" else []
        else:
            folders = [path, path / "annotations"]
            files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
            files += sorted(path.glob(f"*/{_ROBOFLOW}"))
        # COCO describes the images of its test splits in files without boxes.
        files = [file for file in files if not file.name.startswith("image_info")]
        return [file for file in files if self._is_form(json_ends(file))]

    def _files(self, path: Path) -> dict[str, Path]:
        """Choose the file of each split, those of COCO's other tasks aside."""
        by_split: dict[str, list[Path]] = {}
        for file in self._candidates(path):
            inside = file.name == _ROBOFLOW and file.parent != path
            split = folder_split(file.parent.name) if inside else split_of(file.stem)
            by_split.setdefault(split or file.stem, []).append(file)
        chosen = {}
        for split, files in by_split.items():
            named = [file for file in files if file.stem == split]
            named = named or [file for file in files if file.stem.startswith("instances")] or files
            if len(named) > 1:
                names = " and ".join(repr(file.name) for file in named)
                raise ValueError(f"{names} are both of the split {split!r}; pass one of the files")
            chosen[split] = named[0]
        return chosen

    def _read_file(self, file: Path, split: str | None) -> AnnotationSet:
        return self.read_json(file, FolderFinder(file, split))

    def read_json(self, file: Path, folder: FolderFinder) -> AnnotationSet:
        """Read a lone file, whose images a finder knows where to look for.

        Raises:
            ValueError: It cannot be read.
        """

        def read(place: Path | None) -> tuple[AnnotationSet, str]:
            document = read_document(file)
            return self.read_document(document, file, folder, place), document.digest

        return kept_set(file, f"{self.name} {folder}", read)

    def read_document(
        self, document: JsonDocument, file: Path, folder: FolderFinder, place: Path | None = None
    ) -> AnnotationSet:
        """Read the lists of a file that `coco_json.read_document` has found.

        Args:
            document: The lists.
            file: Where they are from, for messages.
            folder: Finds the folder of the images by some of their names.
            place: Folder that the columns are written into; None keeps them in memory.

        Raises:
            ValueError: A category has no id or name, or all are numbered one too high or too low.
        """
        problems: Problems = {}
        categories = objects(document.lists["categories"])
        names = checks.names_by_id(categories, problems)
        named = named_images(
            document.lists["images"], problems, self.image_record, self.image_fields
        )
        listed = without_repeats(named, problems)
        images = folder(named.file_names(), problems)
        usable, place_of_images = found_images(listed, images), images.path
        del images  # Which remembers every name that it was asked for.
        builder = ColumnsBuilder(place)
        builder.add_images_of(usable)
        boxes = BoxReader(named.image_ids, usable, names, builder, problems)
        boxes.read(document.lists["annotations"])
        checks.refuse_shifted(boxes.used, names, str(file))
        records = builder.finish(boxes.left_out)
        frequency = {int(c["id"]): str(c["frequency"]) for c in categories if "frequency" in c}
        roots = entries.roots_of(categories, names, boxes.used)
        unread = dict(boxes.unread)
        return AnnotationSet(place_of_images, records, names, frequency, problems, unread, roots)

    def image_record(self, entry: Mapping[str, Any]) -> Record:
        """Read an image's entry without its boxes; see `entries.image_record`."""
        return replace(entries.image_record(entry), caption=None)

    def entries(self, annotation_set: AnnotationSet) -> dict[str, Iterable[dict[str, Any]]]:
        """Make the lists of a split, categories last; images are numbered anew where ids repeat."""
        records = columns_of(annotation_set.records)
        ids: Sequence[int] = range(1, len(records) + 1)
        if len(np.unique(records.image_ids)) == len(records):
            ids = records.image_ids.tolist()
        boxes = ((i, box) for i, r in zip(ids, records, strict=True) for box in r.annotations)
        return {
            "images": (image_entry(r, i) for i, r in zip(ids, records, strict=True)),
            "annotations": (
                {"id": number, "image_id": i} | box_entry(box)
                for number, (i, box) in enumerate(boxes, start=1)
            ),
            "categories": ({"id": i, "name": name} for i, name in annotation_set.names.items()),
        }
