"""OpenImages: tables of boxes with corners in parts of the picture's width and height.

A folder with ``SPLIT-annotations-bbox.csv`` (also "oidv6-train-annotations-bbox.csv"), the names of
the labels, ``*class-descriptions*.csv``, and the pictures ``SPLIT/IMAGE_ID.jpg``; "validation" is
"val". An image was searched for a part of the labels only: those that
``*-human-imagelabels*.csv`` lists with confidence 0 are its absent ones. Sizes are taken from the
image files. See https://storage.googleapis.com/openimages/web/download_v7.html.
"""

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from glip_pl.data.formats.columns.kept import digest_of, kept_set
from glip_pl.data.formats.common.detection_sets import (
    all_names,
    as_detection,
    folder_split,
    subfolders,
)
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.paths import split_of
from glip_pl.data.formats.common.records import AnnotationSet, Format, Splits
from glip_pl.data.formats.openimages.openimages_tables import (
    COLUMNS,
    is_box_table,
    label_rows,
    read_names,
    read_split,
    write_boxes,
)

_BOXES = "annotations-bbox"
_NAMES = "class-descriptions-boxable.csv"


class OpenImages(Format):
    """OpenImages' tables; a box with a confidence below 1 is a detector's."""

    name: ClassVar[str] = "openimages"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "crowd", "score", "absent"})

    def detect(self, path: Path) -> bool:
        """Recognise by the names of tables and the columns of the first."""
        return any(is_box_table(table) for table in _box_tables(path))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a table of boxes, or those of a folder; pictures without a box count as well.

        Categories are numbered in the order of the class descriptions.
        """
        tables = _box_tables(path)
        folder = path.parent if path.is_file() else path
        described = sorted(folder.glob("*class-descriptions*.csv"), key=_boxable_first)
        if not tables or not described:
            raise ValueError(
                f"{str(folder)!r} has no *{_BOXES}*.csv or no *class-descriptions*.csv; put the "
                f"tables of boxes and {_NAMES} there"
            )
        names, ids = read_names(described[0])
        splits = {split_of(t.stem) or t.stem.partition(f"-{_BOXES}")[0]: t for t in tables}
        return Splits(
            {
                "all" if path.is_file() else split: partial(_read_table, table, split, names, ids)
                for split, table in splits.items()
            }
        )

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write tables of boxes and, where absent labels are known, of image labels."""
        converted = as_detection(sets)
        names = all_names(converted.values())
        codes = {name: f"/c/{number}" for number, name in enumerate(names, start=1)}
        for split, annotation_set in converted.items():
            stem = {"val": "validation"}.get(split, split)
            placed = place_images({split: annotation_set}, path / stem, unique_stems=True)[split]
            write_boxes(path / f"{stem}-{_BOXES}.csv", placed, codes)
            if any(record.absent is not None for record in placed.records):
                file = path / f"{stem}-annotations-human-imagelabels-boxable.csv"
                with file.open("w", newline="", encoding="utf-8") as opened:
                    writer = csv.writer(opened)
                    writer.writerow(COLUMNS[:4])
                    writer.writerows(label_rows(placed, codes))
        with (path / _NAMES).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows((code, name) for name, code in codes.items())

    def losses(self, sets: Mapping[str, AnnotationSet]) -> dict[str, int]:
        """Count as well the images of which more may be seen than there are boxes."""
        held = [bool(record.not_exhaustive) for s in sets.values() for record in s.records]
        return super().losses(sets) | ({"not_exhaustive": sum(held)} if any(held) else {})


def _read_table(
    table: Path, split: str, names: dict[int, str], ids: Mapping[str, int]
) -> AnnotationSet:
    """Read a table of boxes, and what people found absent where that is told beside it."""
    folder = table.parent
    labels = sorted(folder.glob("*human-imagelabels*.csv"))
    labels = [file for file in labels if (split_of(file.stem) or split) == split]
    images = _image_folder(folder, split)
    beside = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in labels[:1]]

    def read(place: Path | None) -> tuple[AnnotationSet, str]:
        found = read_split(table, images, names, ids, labels[0] if labels else None, place)
        return found, digest_of(table)

    return kept_set(table, f"openimages {images} {sorted(ids.items())} {beside}", read)


def _box_tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".csv" and is_box_table(path) else []
    return sorted(path.glob(f"*{_BOXES}*.csv"))


def _boxable_first(file: Path) -> tuple[bool, str]:
    return "boxable" not in file.name, file.name


def _image_folder(folder: Path, split: str) -> Path:
    """Find the pictures of a split."""
    below = [*subfolders(folder), *subfolders(folder / "images")]
    own = [place for place in below if split in (folder_split(place.name), place.name)]
    images = folder / "images"
    return own[0] if own else images if images.is_dir() else folder
