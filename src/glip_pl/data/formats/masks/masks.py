"""Masks: a PNG beside every image, whose pixels say what they show.

A folder ``images`` and a folder ``masks`` (or SegmentationClass) with files of the same names,
Roboflow's pictures with ``a_mask.png`` beside, or such folders in one of each split. A pixel is
the number of its category, or a colour that ``labelmap.txt`` names (CVAT: ``name:r,g,b::``). The
names stand in ``classes.txt``, one a line from number 1 on, or from 0 on where the first one is
"background"; or in Roboflow's ``_classes.csv``. A box is drawn around every connected part of a
category; where ``SegmentationObject`` tells the parts of VOC and CVAT apart, around each of these.
255 is a border, unless there is one category only: then it is this one.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.detection_sets import folder_split
from glip_pl.data.formats.common.image_files import read_sizes
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.side_processes import parse_beside
from glip_pl.data.formats.masks.layouts import MaskFolders, find_folders
from glip_pl.data.formats.masks.levels import Names, Parts, read_parts

OTHER_SIZE = "mask of another size than its image"
UNREADABLE = "mask that cannot be read"


class Masks(Format):
    """PNG masks beside images; read only, since a box has no outline."""

    name: ClassVar[str] = "masks"
    holds: ClassVar[frozenset[str]] = frozenset({"categories"})
    yields: ClassVar[bool] = True

    def detect(self, path: Path) -> bool:
        """Return whether a folder has masks beside images."""
        return bool(find_folders(path))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the splits of a folder, "all" where it has none.

        Raises:
            ValueError: It has no masks, or they have no names.
        """
        folders = find_folders(path)
        if not folders:
            raise ValueError(
                f"{str(path)!r} has no PNG masks of the names of its images; pass the folder that "
                "has images and masks"
            )
        names = Names.near([path, *(f.masks for f in folders), *(f.masks.parent for f in folders)])
        by_split: dict[str, list[tuple[MaskFolders, str, Path]]] = {}
        for held in folders:
            for image, mask in held.pairs():
                first = folder_split(image.split("/")[0]) if "/" in image else None
                by_split.setdefault(held.split or first or "all", []).append((held, image, mask))
        return Splits(
            {split: partial(_read_split, found, names) for split, found in by_split.items()}
        )

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Refuse: a box has no outline.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"the format {self.name} is read only; write coco instead")


def _read_split(pairs: list[tuple[MaskFolders, str, Path]], names: Names) -> AnnotationSet:
    base = pairs[0][0].images
    found = AnnotationSet(base, [], dict(enumerate(names.words, start=1)))
    checks.note_same_names(found.names, found.problems)
    sizes = read_sizes([str(held.images / image) for held, image, _ in pairs])
    masks = [(mask, held.objects_of(mask)) for held, _, mask in pairs]
    ids = {name: number for number, name in found.names.items()}

    def read() -> Iterator[Record]:
        rows = zip(pairs, sizes, parse_beside(masks, partial(_parts_of, names)), strict=True)
        for number, ((_, image, mask), size, parts) in enumerate(rows, start=1):
            if isinstance(size, str):
                note(found.problems, size, image)
                continue
            if isinstance(parts, str):
                note(found.problems, UNREADABLE, f"{mask.name}: {parts}")
                continue
            if parts.size != size:
                note(found.problems, OTHER_SIZE, f"{mask.name} of {image}")
                continue
            for level in parts.unnamed:
                note(found.problems, checks.UNNAMED_PART, f"{level} in {mask.name}")
            boxes = list[Annotation]()
            for name, corners in parts.boxes:
                box, kind = checked_box(corners, size)
                note(found.problems, kind, f"{name!r} of {mask.name}: {list(corners)}")
                if box is not None:
                    boxes.append(Annotation(box, ids[name]))
            yield Record(number, image, size, tuple(boxes))

    records = columns_of(read())
    return AnnotationSet(base, records, found.names, problems=found.problems)


def _parts_of(names: Names, mask: tuple[Path, Path | None]) -> Parts | str:
    return read_parts(names, *mask)
