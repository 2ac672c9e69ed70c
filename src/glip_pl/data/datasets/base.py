"""What every data set does: read its annotations, name their problems, make samples of the rest."""

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Self

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.samples import SampleContext, SampleMaker, Samples
from glip_pl.data.formats import AnnotationSet, Record
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.checks import MISSING_FILE, OUTSIDE_FOLDER
from glip_pl.data.formats.common.doubts import doubts_of, refuse_if_nothing_left
from glip_pl.data.formats.common.paths import FolderFinder
from glip_pl.data.report import tell_problems
from glip_pl.data.sources import read_split, with_images, without_crowded
from glip_pl.metrics import GroundingMetric

_ELSEWHERE = "pass --data.root=PATH (with make: DATA_ROOT=PATH) or correct `images` of the set"


class DatasetBuilder(ABC):
    """Writes a data set that can be made rather than downloaded."""

    @abstractmethod
    def build(self, root: Path) -> None:
        """Write the data set into `root`; do nothing when it is there already."""


class GroundingDataset(ABC):
    """Where a data set lies, how it is judged, and, once loaded, what is in it.

    `load` reads the annotations; `samples` joins them with a tokenizer. A subclass reads in
    `read_set`, chooses what it can use in `select`, and makes samples by the maker of `maker`.

    Attributes:
        names: The category names in order; empty when phrases are free text.
        records: The images and boxes that can be used.
        folder: Of the image files.
        problems: What `load` left out or changed, by kind; `samples` adds to it.
    """

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        *,
        format: str | None = None,
        split: str | None = None,
    ) -> None:
        """Note where the data lie; nothing is read before `load`.

        Args:
            annotations: File or folder in a form that ``glip data convert`` reads, relative to the
                data module's root.
            images: Folder of the image files, relative to the root; by default ``images`` for a
                COCO-shaped JSON file, and where the form has them for all else.
            format: Name of the form ("coco"), where several fit.
            split: Which split of a folder that has several ("train").
        """
        self.annotations, self.images = annotations, images or "images"
        self.format, self.split = format, split
        self._has_own_images = images is not None
        self.names: list[str] = []
        self.records = columns_of([])
        self.folder = Path()
        self.problems: Problems = {}

    @property
    def names_by_id(self) -> dict[int, str]:
        """The name of each category id; empty when phrases are free text."""
        return {}

    def at(self, root: Path) -> Self:
        """Return the same set, not yet loaded, with paths that start from a root of its own."""
        moved, folder = copy(self), root.expanduser().absolute()
        moved.annotations = str(folder / self.annotations)
        moved.images = str(folder / self.images)
        return moved

    @abstractmethod
    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read the annotations.

        Args:
            source: Their file or folder.
            folder: Of the images, where a lone file does not say.
        """

    def take_names(self, found: AnnotationSet, source: Path) -> None:
        """Take the names of the categories, where the samples are made of categories.

        Args:
            found: A set, whose records do not matter.
            source: What it was read from, for messages.
        """
        self.names = []

    @abstractmethod
    def select(self, found: AnnotationSet, problems: Problems) -> ColumnRecords:
        """Choose the records that samples can be made of, noting in `problems` the others."""

    @abstractmethod
    def maker(self, context: SampleContext) -> SampleMaker:
        """Make what turns records into samples; called once the names are known.

        Raises:
            ValueError: The text encoder cannot read what must be asked for.
        """

    @abstractmethod
    def make_metric(self) -> GroundingMetric:
        """Make the metric of an evaluation on this set; called after `load`."""

    @property
    def reads_json(self) -> bool:
        """Whether a lone COCO-shaped JSON file may be read entry by entry."""
        return self.format is None and self.split is None

    def read_any(self, source: Path, folder: Path) -> AnnotationSet:
        """Read annotations in any form, for `read_set`; `images` becomes where they lie.

        Raises:
            ValueError: They cannot be read, or it is not clear which split is meant.
        """
        own = folder if self._has_own_images else None
        found = read_split(source, format=self.format, split=self.split, images=own)
        if own is not None:
            return with_images(found, own)
        self.images = str(found.images)
        return found

    def find_folder(self, source: Path, folder: Path) -> FolderFinder:
        """Return how the images of a lone JSON file are found: where `images` says, or near it."""
        if self._has_own_images:
            return FolderFinder(source, only=folder)
        return FolderFinder(source, first=folder)

    def load(self, root: Path, *, training: bool = False, strict: bool = False) -> None:
        """Read and check the annotations.

        Args:
            root: Folder that relative paths start from.
            training: Whether there must be something to learn from.
            strict: Whether anything that would be left out or changed is an error.

        Raises:
            ValueError: The annotations cannot be used, no image is left, or something is faulty
                and `strict` asks for none.
        """
        source = root / self.annotations
        found = without_crowded(self.read_set(source, root / self.images))
        self.take_names(found, source)
        self.problems = {**found.problems, **doubts_of(found)}
        if training:
            refuse_if_nothing_left(replace(found, problems=self.problems), str(source))
        self.records, self.folder = self.select(found, self.problems), found.images
        if not self.records:
            lost = "; ".join(f"{len(v)} x {k} ({v[0]})" for k, v in self.problems.items())
            elsewhere = not lost or not {MISSING_FILE, OUTSIDE_FOLDER}.isdisjoint(self.problems)
            raise ValueError(
                f"{str(source)!r} has no usable image: {lost or 'its list of images is empty'}; "
                + (_ELSEWHERE if elsewhere else "correct the annotations")
                + " (glip data check tells more)"
            )
        tell_problems(source, self.problems, strict=strict)

    def samples(self, context: SampleContext) -> Samples:
        """Make the samples of a set that is loaded.

        Raises:
            ValueError: The text encoder cannot read the words of the set, or what it cannot read
                would be left out and `strict` asks for none.
        """
        maker, unreadable = self.maker(context), dict[str, list[str]]()
        records = maker.readable(self.records, unreadable)
        if not records:
            told = "; ".join(f"{len(v)} x {k} ({v[0]})" for k, v in unreadable.items())
            raise ValueError(
                f"the text encoder can read nothing of {self.annotations!r}: {told}; raise its "
                "max_tokens"
            )
        # The samples of a set are made more than once, its problems told once.
        untold = {
            kind: told for kind, told in unreadable.items() if self.problems.get(kind) != told
        }
        tell_problems(self.annotations, untold, strict=context.strict)
        self.problems.update(untold)
        return Samples(records, self.folder, maker, problems=self.problems)

    @property
    def has_boxes(self) -> bool:
        """Whether any image has a box to learn from, no crowd; known after `load`."""
        if not self.records.box_counts.any():
            return False
        return any(not crowd.all() for (crowd,) in self.records.box_parts("crowd"))

    def image_path(self, record: Record) -> Path:
        """Return the file of an image, which may lie in a tar file: ``train-000000.tar/07.jpg``."""
        return self.folder / record.file_name

    def labels_of(self, record: Record) -> dict[str, list[int]]:
        """Return what an image was labelled for, in LVIS's words; empty where for everything."""
        return {}
