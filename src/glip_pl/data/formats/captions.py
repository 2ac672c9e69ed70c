"""Image-caption pairs without boxes: tables, JSON lines, or a text file beside every image.

A table (.tsv, .csv) may start with a line of names, such as "filepath" and "title"; else the column
whose first value ends like an image file is the image, and the other one the caption. In JSON lines
an object has the same names. A text file holds one caption a line. Sizes come from the image files
unless a line of JSON has ``height`` and ``width``.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, ClassVar

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.caption_spans import NO_CAPTION
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES, place_images, read_sizes
from glip_pl.data.formats.common.json_lines import first_object, json_lines
from glip_pl.data.formats.common.paths import FolderFinder, ImageFolder, sources, split_of
from glip_pl.data.formats.common.records import AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.spool import Spool

_SUFFIXES = (".jsonl", ".tsv", ".csv")
_IMAGE = ("image", "filepath", "file_name", "filename", "image_path", "image_name", "img_path")
_CAPTION = ("caption", "title", "text", "comment", "sentence")
# A line of a YOLO label, which lies beside images as well.
_LABEL = re.compile(r"\s*\d+(\s+[\d.eE+-]+){4,}\s*")
_LOOKED_AT = 10_000
NO_IMAGE = "line without the name of an image"

# Where a pair stands, its image, its caption, and its (height, width) if that is known.
_Pair = tuple[str, str, str, tuple[int, int] | None]


class Captions(Format):
    """Images with a caption each, for pretraining and for text that no box shows."""

    name: ClassVar[str] = "captions"
    holds: ClassVar[frozenset[str]] = frozenset({"captions"})

    def detect(self, path: Path) -> bool:
        """Return whether a file has pairs in its first line, or a folder captions beside images."""
        return bool(sources(path, _SUFFIXES, _has_pairs)) or _has_texts(path)

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a table, JSON lines, or a folder of images and text files.

        A folder's ``train``, ``val`` and ``test`` are its splits.
        """
        files = sources(path, _SUFFIXES, _has_pairs)
        if files:
            return Splits({split: partial(_read_pairs, file) for split, file in files.items()})
        below = [folder for folder in path.glob("*") if folder.is_dir() and split_of(folder.name)]
        folders = {folder.name: folder for folder in sorted(below) if _has_texts(folder)}
        if not folders and _has_texts(path):
            folders = {"all": path}
        if not folders:
            sources(path, _SUFFIXES, _has_pairs, needed=self.name)
        return Splits({split: partial(_read_texts, folder) for split, folder in folders.items()})

    def read_with_images(self, path: Path, images: Path | None) -> Mapping[str, AnnotationSet]:
        """Read tables or JSON lines whose images lie in a named folder; texts lie beside theirs."""
        files = sources(path, _SUFFIXES, _has_pairs)
        if not files:
            return self.read(path)
        return Splits({split: partial(_read_pairs, file, images) for split, file in files.items()})

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``annotations/SPLIT.jsonl`` and the images.

        Raises:
            ValueError: A record has no caption.
        """
        for split, annotation_set in sets.items():
            for record in annotation_set.records:
                if record.caption is None:
                    raise ValueError(
                        f"image {record.image_id} ({record.file_name}) of {split!r} has no "
                        "caption; write another format than captions"
                    )
        placed = place_images(sets, path / "images")
        folder = path / "annotations"
        folder.mkdir()
        for split, annotation_set in placed.items():
            with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
                for record in annotation_set.records:
                    line = {"image": record.file_name, "caption": record.caption}
                    size = {"height": record.size[0], "width": record.size[1]}
                    file.write(json.dumps(line | size) + "\n")

    def losses(self, sets: Mapping[str, AnnotationSet]) -> dict[str, int]:
        """Count what `write` could not express: alone among the formats, boxes."""
        boxes = sum(len(record.annotations) for s in sets.values() for record in s.records)
        return super().losses(sets) | ({"boxes": boxes} if boxes else {})


def _key(names: Iterable[Any], wanted: Sequence[str]) -> Any:
    """Find the first wanted name among the given ones; None where there is none."""
    by_name = {str(name).strip().lower(): name for name in names}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _has_pairs(file: Path) -> bool:
    if file.suffix == ".jsonl":
        first = first_object(file)
        other = {"grounding", "detection"} & first.keys()
        return bool(_key(first, _IMAGE) and _key(first, _CAPTION)) and not other
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        return _columns(next(_rows(file, opened), [])) is not None


def _rows(file: Path, opened: Iterable[str]) -> Iterator[list[str]]:
    if file.suffix == ".tsv":
        # Captions may have quotes that nobody closes; a tab is never part of one.
        return (line.rstrip("\r\n").split("\t") for line in opened)
    lines = iter(opened)
    first = next(lines, "")
    # Flickr30k's results.csv has bars.
    bars = first.count("|") > first.count(",")
    return csv.reader(chain([first], lines), delimiter="|" if bars else ",")


def _columns(row: Sequence[str]) -> tuple[int, int, bool] | None:
    """Find the columns of image and caption in a first line, and whether it is of names."""
    image, caption = _key(row, _IMAGE), _key(row, _CAPTION)
    if image is not None and caption is not None:
        return row.index(image), row.index(caption), True
    files = [i for i, value in enumerate(row) if value.lower().endswith(IMAGE_SUFFIXES)]
    return (files[0], 1 - files[0], False) if len(row) == 2 and len(files) == 1 else None


def _read_pairs(file: Path, images: Path | None = None) -> AnnotationSet:
    problems: Problems = {}
    first = (image for _, image, _, _ in _pairs(file, {}))
    folder = FolderFinder(file, only=images)(first, problems)
    return _joined(_pairs(file, problems), folder)


def _pairs(file: Path, problems: Problems) -> Iterator[_Pair]:
    """Walk over the pairs of a table or of JSON lines."""
    if file.suffix == ".jsonl":
        for number, line in json_lines(file, problems):
            image, caption = line.get(_key(line, _IMAGE)), line.get(_key(line, _CAPTION))
            if not isinstance(image, str) or not image:
                note(problems, NO_IMAGE, f"line {number}")
                continue
            height, width = line.get("height"), line.get("width")
            known = (height, width) if type(height) is int and type(width) is int else None
            yield f"line {number}", image, caption if isinstance(caption, str) else "", known
        return
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        columns = None
        for number, row in enumerate(_rows(file, opened), start=1):
            if columns is None:
                columns = _columns(row)
                if columns is None:
                    raise ValueError(f"the first line of {str(file)!r} names no image and caption")
                if columns[2]:
                    continue
            if any(row) and len(row) <= max(columns[:2]):
                note(problems, NO_IMAGE, f"line {number}")
            elif any(row):
                yield f"line {number}", row[columns[0]].strip(), row[columns[1]].strip(), None


def _texts(files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Find the images that have a text file beside them, which is no YOLO label."""
    for image in files:
        text = image.with_suffix(".txt")
        if image.suffix.lower() in IMAGE_SUFFIXES and text.is_file():
            with text.open(encoding="utf-8", errors="replace") as opened:
                if not _LABEL.fullmatch(opened.readline()):
                    yield image, text


def _has_texts(folder: Path) -> bool:
    return folder.is_dir() and any(_texts(islice(folder.rglob("*"), _LOOKED_AT)))


def _read_texts(root: Path) -> AnnotationSet:
    def pairs() -> Iterator[_Pair]:
        for image, text in _texts(sorted(root.rglob("*"))):
            name = image.relative_to(root).as_posix()
            lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in [line.strip() for line in lines if line.strip()] or [""]:
                yield text.name, name, line, None

    return _joined(pairs(), ImageFolder(root, {}))


def _joined(pairs: Iterable[_Pair], folder: ImageFolder) -> AnnotationSet:
    """Make the records, with the sizes of the images that the pairs do not tell."""
    kept = Spool[tuple[str, str, tuple[int, int] | None]]()
    for where, image, caption, size in pairs:
        found = folder.find(image)
        if found is not None and not caption.strip():
            note(folder.problems, NO_CAPTION, f"{found} of {where}")
        elif found is not None:
            kept.append((found, caption, size))
    unknown = list(dict.fromkeys(image for image, _, size in kept if size is None))
    read = read_sizes([str(folder.path / image) for image in unknown])
    sizes = dict(zip(unknown, read, strict=True))

    def records() -> Iterator[Record]:
        number = count(1)
        for image, caption, known in kept:
            told = sizes[image] if known is None else known
            if isinstance(told, str):
                note(folder.problems, told, image)
            else:
                yield Record(next(number), image, told, caption=caption)

    held = folder.certain(columns_of(records()))
    return AnnotationSet(folder.path, held, problems=folder.problems)
