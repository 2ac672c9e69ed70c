"""Annotations of a data set from files of any form: which reader, which split, which images."""

from dataclasses import replace
from pathlib import Path

from glip_pl.data.annotations import Problems
from glip_pl.data.auto_splits import AUTO_SPLITS, auto_split
from glip_pl.data.formats import FORMATS, AnnotationSet, Format, detect_format
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.paths import ImageFolder

# Matching compares every box of an image with some 20,000 regions.
MOST_BOXES = 5_000
TOO_MANY = f"image with more than {MOST_BOXES} boxes, which no memory has room to match"

# The forms whose JSON the data sets read entry by entry, with images where `images` says.
_COCO_SHAPED = ("coco", "lvis", "mdetr")


def is_coco_json(source: Path) -> bool:
    """Return whether a path is, or would have to be, one COCO-shaped JSON file."""
    if source.suffix != ".json" or source.is_dir():
        return False
    if not source.is_file():
        return True
    return all(form.name in _COCO_SHAPED for form in FORMATS.values() if form.detect(source))


def read_split(
    source: Path, *, format: str | None, split: str | None, images: Path | None = None
) -> AnnotationSet:
    """Read one split of a file or folder of any form; its images have an absolute path.

    Args:
        source: The file or folder.
        format: Name of its form, where several fit.
        split: Name of the split, where there are several; "auto-train", "auto-val" and "auto-test"
            are what `auto_split` chooses.
        images: Folder of the image files, where they need not lie near.

    Raises:
        ValueError: There is nothing, it cannot be read, or it is not clear which split is meant.
    """
    if not source.exists():
        raise ValueError(
            f"there is no annotation file or folder {str(source)!r}; pass --data.root=PATH "
            "(with make: DATA_ROOT=PATH) or correct `annotations` in data.*"
        )
    reader = _reader(source, format)
    sets = reader.read(source) if images is None else reader.read_with_images(source, images)
    if split in AUTO_SPLITS:
        return _usable(auto_split(sets, AUTO_SPLITS[split], source))
    if split is None and len(sets) != 1:
        raise ValueError(
            f"{str(source)!r} has the splits {', '.join(sets)}; say which in `split` of the data "
            "set in data.*"
        )
    if split is not None and split not in sets:
        raise ValueError(
            f"{str(source)!r} has no split {split!r}, but {', '.join(sets) or 'none'}; correct "
            "`split` of the data set, or leave it out where there is one only"
        )
    found = next(iter(sets.values())) if split is None else sets[split]
    return _usable(found)


def _usable(found: AnnotationSet) -> AnnotationSet:
    """Leave out images of more boxes than memory has room for, and make the folder absolute."""
    return replace(without_crowded(found), images=found.images.absolute())


def without_crowded(found: AnnotationSet) -> AnnotationSet:
    """Leave out images of more boxes than memory has room for; the records become columns."""
    records = columns_of(found.records)
    fits = records.box_counts <= MOST_BOXES
    if fits.all():
        return replace(found, records=records)
    problems = {kind: list(told) for kind, told in found.problems.items()}
    crowded = records.take(~fits)
    for name, count in zip(crowded.file_names(), crowded.box_counts.tolist(), strict=True):
        note(problems, TOO_MANY, f"{name}: {count} boxes")
    return replace(found, records=records.take(fits), problems=problems)


def _reader(source: Path, format: str | None) -> Format:
    if format is None:
        try:
            return detect_format(source)
        except ValueError as error:
            raise ValueError(f"{error} (in data.*: `format` of the data set)") from None
    if format not in FORMATS:
        raise ValueError(
            f"there is no format {format!r}; give one of {', '.join(FORMATS)} as `format` of the "
            "data set"
        )
    return FORMATS[format]


def with_images(found: AnnotationSet, folder: Path) -> AnnotationSet:
    """Take the images from another folder, without the records whose image is not there."""
    records = columns_of(found.records)
    problems = {kind: list(told) for kind, told in found.problems.items()}
    lost: Problems = {}
    images = ImageFolder.at(folder, records.file_names(), lost)

    def find(_: int, name: str) -> str | None:
        in_tar = ".tar/" in name and any(
            p.suffix == ".tar" and p.is_file() for p in (folder / name).parents
        )
        return name if in_tar else images.find(name)

    records = records.with_files(find)
    records = images.certain(records)
    for kind, told in lost.items():
        problems[kind] = [*problems.get(kind, []), *(str(folder / name) for name in told)]
    return replace(found, images=folder, records=records, problems=problems)
