"""Annotations apart from any file format: what every format is read into and written from.

A *record* is one image with at most one caption; an image with five captions is five records of one
file, as in MDETR's JSON. A *set* is the records of one split. Reading never drops anything without
a word: what is wrong in a file is counted in `problems`, and what it holds and a set cannot, in
`unread`; `Format.losses` tells the same of writing.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from glip_pl.data.annotations import Box, Problems
from glip_pl.prompts import Span


# Slots, since a set of LVIS has more than a million of them.
@dataclass(frozen=True, slots=True)
class Annotation:
    """One box and what it shows.

    Attributes:
        box: xyxy, float pixels of the image file.
        category: Key of the set's `names`; None where the box shows a phrase only.
        tokens_positive: Character spans of the record's caption that the box shows.
        crowd: Whether the box is around many objects (COCO's ``iscrowd``).
        score: How sure a detector was that drew the box; None for a person's box.
        phrase_types: Kinds that the data set puts the phrase in ("people").
    """

    box: Box
    category: int | None = None
    tokens_positive: tuple[Span, ...] = ()
    crowd: bool = False
    score: float | None = None
    phrase_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One image, at most one caption, and the boxes.

    Attributes:
        image_id: The data set's id, or the place in the sorted list of files.
        file_name: Path of the image file below the set's `images`, with forward slashes.
        size: (height, width) in pixels.
        annotations: The boxes.
        caption: The text that `tokens_positive` count in.
        absent: Categories known not to be in the image (LVIS); None when every category that has no
            box is absent, as in COCO.
        not_exhaustive: Categories of which more may be in the image than there are boxes (LVIS).
        left_out: How many boxes of the file could not be used, so that `annotations` lacks them.
    """

    image_id: int
    file_name: str
    size: tuple[int, int]
    annotations: tuple[Annotation, ...] = ()
    caption: str | None = None
    absent: tuple[int, ...] | None = None
    not_exhaustive: tuple[int, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class AnnotationSet:
    """The records of one split.

    Attributes:
        images: Folder of the image files.
        records: In the order of the file. A large set makes each when it is asked for, out of
            columns, so do not keep them all.
        names: Name of each category id, as the data set writes it; ids may have gaps. Empty when
            phrases are free text.
        frequency: LVIS's "r", "c" or "f" of each category id.
        problems: What was left out or changed in reading, by kind.
        unread: How much of each kind the files hold and a set does not ("segmentation").
        roots: Categories that no box shows and that others name as what they are a kind of, as
            Roboflow puts a set's own name first among its categories.
    """

    images: Path
    records: Sequence[Record]
    names: dict[int, str] = field(default_factory=dict)
    frequency: dict[int, str] = field(default_factory=dict)
    problems: Problems = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    roots: tuple[int, ...] = ()


class Splits(Mapping[str, AnnotationSet]):
    """Sets by split, each read when it is first asked for: training need not read the test set.

    Args:
        readers: How to read each split.
    """

    def __init__(self, readers: Mapping[str, Callable[[], AnnotationSet]]) -> None:
        self._readers = readers
        self._read: dict[str, AnnotationSet] = {}

    def __getitem__(self, split: str) -> AnnotationSet:
        """Read a split, or give it as it was read.

        Raises:
            KeyError: There is no such split.
            ValueError: It cannot be read.
        """
        if split not in self._read:
            self._read[split] = self._readers[split]()
        return self._read[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


class Format(ABC):
    """A way to keep annotations in files.

    Attributes:
        name: What the user types, for example "coco".
        holds: Which of "categories", "captions", "crowd", "score", "phrase_types" and "absent" it
            can express; boxes always.
        yields: Whether it is meant only where a path is in no other form, since its boxes are made
            of something else.
    """

    name: ClassVar[str]
    holds: ClassVar[frozenset[str]]
    yields: ClassVar[bool] = False

    @abstractmethod
    def detect(self, path: Path) -> bool:
        """Recognise a path of this form from names and first bytes, without reading much."""

    @abstractmethod
    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a file or folder: its sets by split ("train", "val", "test"; "all" for a lone file).

        Where a split has files of its own, these are read when the split is asked for.

        Raises:
            ValueError: The path is not in this form, or cannot be read.
        """

    def read_with_images(self, path: Path, images: Path | None) -> Mapping[str, AnnotationSet]:
        """Read a path whose images were said to lie in a folder, which need not be near.

        By default they are looked for where `read` looks; forms that leave out what is not there
        look into `images` instead, and near the path where that is None.

        Raises:
            ValueError: As `read`.
        """
        return self.read(path)

    @abstractmethod
    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write sets into the new folder `path`, annotations and links or copies of the images."""

    def losses(self, sets: Mapping[str, AnnotationSet]) -> dict[str, int]:
        """Count what `write` could not express: boxes, or records for "captions" and "absent"."""
        held: Counter[str] = Counter()
        for annotation_set in sets.values():
            for record in annotation_set.records:
                held["captions"] += record.caption is not None
                held["absent"] += record.absent is not None or bool(record.not_exhaustive)
                for annotation in record.annotations:
                    held["categories"] += annotation.category is not None
                    held["crowd"] += annotation.crowd
                    held["score"] += annotation.score is not None
                    held["phrase_types"] += bool(annotation.phrase_types)
        return {kind: count for kind, count in held.items() if count and kind not in self.holds}
