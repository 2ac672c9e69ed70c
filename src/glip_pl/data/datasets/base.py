"""What every data set does: load lazily, name its problems, read images, survive a broken one."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from glip_pl.data.annotations import ImageRecord, Problems
from glip_pl.data.formats import AnnotationSet
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.doubts import doubts_of, refuse_if_nothing_left
from glip_pl.data.formats.common.image_files import UNREADABLE, image_problem
from glip_pl.data.formats.common.paths import FolderFinder, ImageFolder
from glip_pl.data.images import read_image
from glip_pl.data.report import list_problems
from glip_pl.data.sources import read_split, with_images
from glip_pl.data.transforms import scaled
from glip_pl.metrics import GroundingMetric
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Sample

log = logging.getLogger(__name__)


class DatasetBuilder(ABC):
    """Writes a data set that can be made rather than downloaded."""

    @abstractmethod
    def build(self, root: Path) -> None:
        """Write the data set into `root`; do nothing when it is there already."""


class GroundingDataset(Dataset[Sample], ABC):
    """Base class of the data sets.

    A subclass reads its annotations in `read_set`, selects what it can use of them in `select`,
    turns record and pixels into a `Sample` in `make_sample` and knows how it is judged, in
    `make_metric`. Nothing is read before `load`.

    Attributes:
        names: The category names in order; empty when phrases are free text.
        problems: What `load` left out or changed, by kind, and in training the unreadable images.
        training: Whether prompts are sampled and a broken image is replaced by the next one.
        strict: Whether anything that would be left out or changed is an error.
        transform: Applied to every sample.
        short_side: Pixels that the shorter side of a decoded image must keep; None keeps them all.
        tokenizer: Set by `connect`.
    """

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        *,
        format: str | None = None,
        split: str | None = None,
    ) -> None:
        """Note where the data lie.

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
        self.problems: Problems = {}
        self.training = self.strict = False
        self.transform: Callable[[Sample], Sample] | None = None
        self.short_side: int | None = None
        self.tokenizer: Tokenizer | None = None
        self._records: Sequence[ImageRecord] = []

    @property
    def names_by_id(self) -> dict[int, str]:
        """The name of each category id; empty when phrases are free text."""
        return {}

    @abstractmethod
    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read the annotations, noting in `problems` what is left out."""

    def take_names(self, found: AnnotationSet, source: Path) -> None:
        """Take the names of the categories, where the samples are made of categories."""

    @abstractmethod
    def select(self, found: AnnotationSet) -> list[Any]:
        """Make the records that samples are made of, noting in `problems` what is left out."""

    def fitting(self, records: list[Any]) -> list[Any]:
        """Keep the records whose words the text encoder can read; called after `connect`."""
        return records

    @property
    def reads_json(self) -> bool:
        """Whether a lone COCO-shaped JSON file may be read entry by entry."""
        return self.format is None and self.split is None

    def read_any(self, source: Path, folder: Path) -> AnnotationSet:
        """Read annotations in any form, for `read_set`; `images` becomes where they lie.

        Raises:
            ValueError: They cannot be read, or it is not clear which split is meant.
        """
        found = read_split(source, format=self.format, split=self.split)
        if self._has_own_images:
            found = with_images(found, folder)
        else:
            self.images = str(found.images)
        self.problems.update(found.problems)
        return found

    def find_folder(self, source: Path, folder: Path) -> FolderFinder:
        """Say how the images of a lone JSON file are found: where `images` says, or near it."""
        if self._has_own_images:
            return partial(ImageFolder.at, folder)
        return partial(ImageFolder.near, source, first=folder)

    @abstractmethod
    def make_sample(self, record: Any, image: np.ndarray) -> Sample:
        """Join a record of `fitting` with its pixels, uint8 [H, W, 3]."""

    @abstractmethod
    def make_metric(self) -> GroundingMetric:
        """Make the metric of an evaluation on this set; called after `load`."""

    def load(self, root: Path) -> None:
        """Read and check the annotations.

        Args:
            root: Folder that relative paths start from.

        Raises:
            ValueError: The annotations cannot be used, no image is left, or something is faulty
                and `strict` asks for none.
        """
        source, folder = root / self.annotations, root / self.images
        self.problems = {}
        found = self.read_set(source, folder)
        self.problems.update(doubts_of(found))
        if self.training:
            refuse_if_nothing_left(replace(found, problems=self.problems), str(source))
        self._records = self.select(found)
        if not self._records:
            lost = "; ".join(f"{len(v)} x {k} ({v[0]})" for k, v in self.problems.items())
            raise ValueError(
                f"{str(source)!r} has no usable image: {lost or 'its list of images is empty'}; "
                "pass --data.root=PATH (with make: DATA_ROOT=PATH) or correct `images` of the set"
            )
        self.tell(source, self.problems)

    def tell(self, source: Path, problems: Problems) -> None:
        """Warn once of all that is wrong with a file, with a few examples each, or refuse it."""
        if problems:
            lines = "\n  ".join([f"{source}:", *list_problems(problems)])
            if self.strict:
                raise ValueError(
                    f"{lines}\ncorrect the data set, or leave out data.strict to go on without "
                    "what is faulty"
                )
            log.warning("%s", lines)

    def connect(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer that will read the prompts; called after `load`."""
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self._records)

    @property
    def has_boxes(self) -> bool:
        """Whether any image has a box to learn from; known after `load`."""
        return any(len(getattr(record, "boxes", ())) for record in self._records)

    def image_size(self, index: int) -> tuple[int, int]:
        """Give (height, width) of an image without reading it."""
        return self._records[index].size

    def image_path(self, index: int) -> Path:
        """Give the file of an image, which may lie in a tar file: ``train-000000.tar/07.jpg``."""
        return self._records[index].path

    def image_id(self, index: int) -> int:
        """Give the data set's id of an image without reading it."""
        return self._records[index].image_id

    def labels_of(self, index: int) -> dict[str, list[int]]:
        """Say what an image was labelled for, in LVIS's words; empty where that is everything."""
        return {}

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ValueError: The image cannot be read; in training that is not strict only if none can,
                since there the next readable one is taken instead. Skipping in an evaluation would
                change its result.
        """
        record = self._records[index]
        for at in range(index, index + len(self)):
            record = self._records[at % len(self)]
            try:
                image = read_image(record.path, size=record.size, short_side=self.short_side)
            except ValueError as error:
                if self.strict or not self.training:
                    raise
                self.note_unreadable(record, error)
                continue
            return self.finished(record, image)
        raise ValueError(f"none of the {len(self)} images can be read; the last was {record.path}")

    def remember(self, records: Sequence[Any]) -> None:
        """Take records that come from a stream for those of the set, as far as it needs others."""
        self._records = records

    def finished(self, record: ImageRecord, image: np.ndarray) -> Sample:
        """Make a sample of a record and its pixels, and transform it."""
        sample = _in_its_pixels(self.make_sample(record, image))
        return self.transform(sample) if self.transform else sample

    def note_unreadable(self, record: ImageRecord, error: ValueError) -> None:
        """Count an image that training cannot read, and warn the first time."""
        kind = image_problem(str(record.path), record.size)[0] or UNREADABLE
        if str(record.path) not in self.problems.get(kind, []):
            note(self.problems, kind, str(record.path))
            log.warning("%s; training takes the next image instead", error)


def _in_its_pixels(sample: Sample) -> Sample:
    """Scale boxes drawn on the whole image to the size at which it was decoded."""
    size, original = sample.image.shape[:2], sample.original_size
    if size == original:
        return sample
    return replace(sample, truth=scaled(sample.truth, original, size))
