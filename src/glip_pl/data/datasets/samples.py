"""From records to samples: what every kind of data set shares once a tokenizer is known."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from glip_pl.data.annotations import Problems
from glip_pl.data.formats import Record
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.store import Array
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import UNREADABLE, image_problem
from glip_pl.data.images import read_image
from glip_pl.data.transforms import scaled
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleContext:
    """What samples are made for.

    Attributes:
        tokenizer: Reads the prompts.
        training: Whether prompts are sampled and a broken image is replaced by the next one.
        strict: Whether anything that would be left out or replaced is an error.
        one_prompt: Whether training, too, asks every image for all names, as prompt tuning must.
        transform: Applied to every sample.
        short_side: Pixels that the shorter side of a decoded image must keep; None keeps them all.
    """

    tokenizer: Tokenizer
    training: bool = False
    strict: bool = False
    one_prompt: bool = False
    transform: Callable[[Sample], Sample] | None = None
    short_side: int | None = None


class SampleMaker(ABC):
    """Makes samples of the records of one set; a kind of data set has a kind of maker."""

    def __init__(self, context: SampleContext) -> None:
        self.context = context

    @abstractmethod
    def readable(self, records: ColumnRecords, problems: Problems) -> ColumnRecords:
        """Keep the records whose words the text encoder can read, noting the others.

        Raises:
            ValueError: Words cannot be read that must not be left out.
        """

    @abstractmethod
    def make(self, record: Record, image: np.ndarray, others: Sequence[Record]) -> Sample:
        """Join a readable record with its pixels.

        Args:
            record: The record.
            image: Its pixels, uint8 [H, W, 3], maybe of a size below the record's.
            others: Records of the same set, for what a prompt borrows from other images.

        Returns:
            The sample, with boxes in pixels of the record's size.
        """

    def __call__(self, record: Record, image: np.ndarray, others: Sequence[Record]) -> Sample:
        """Do as `make`, with boxes in pixels of the image as it is, and transform the sample."""
        sample = self.make(record, image, others)
        size, original = sample.image.shape[:2], sample.original_size
        # A large JPEG is decoded no larger than the resize needs it.
        if size != original:
            sample = replace(sample, truth=scaled(sample.truth, original, size))
        return self.context.transform(sample) if self.context.transform else sample


class Samples(Dataset[Sample]):
    """The samples of a set that was read as a whole.

    Attributes:
        records: What they are made of.
        problems: As those of the set; unreadable images are added in training.
    """

    def __init__(
        self, records: ColumnRecords, folder: Path, maker: SampleMaker, *, problems: Problems
    ) -> None:
        """Join what samples are made of.

        Args:
            records: Readable records.
            folder: Of the image files.
            maker: Makes samples of records.
            problems: Of the set.
        """
        self.records, self.problems = records, problems
        self._folder, self._maker = folder, maker

    def __len__(self) -> int:
        return len(self.records)

    @property
    def sizes(self) -> Array:
        """(height, width) of every image in pixels, int64 [N, 2]; no image is read."""
        return self.records.sizes

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            IndexError: There are not so many.
            ValueError: The image cannot be read; in training that is not strict only if none can,
                since there the next readable one is taken instead. Skipping in an evaluation would
                change its result.
        """
        context, record = self._maker.context, self.records[index]
        for at in range(index, index + len(self)):
            record = self.records[at % len(self)]
            path = self._folder / record.file_name
            try:
                image = read_image(path, size=record.size, short_side=context.short_side)
            except ValueError as error:
                if context.strict or not context.training:
                    raise
                note_unreadable(path, record.size, error, self.problems)
                continue
            return self._maker(record, image, self.records)
        raise ValueError(
            f"none of the {len(self)} images can be read; the last was "
            f"{self._folder / record.file_name}"
        )


def note_unreadable(
    path: Path, size: tuple[int, int], error: ValueError, problems: Problems
) -> None:
    """Count an image that training cannot read, and warn the first time."""
    kind = image_problem(str(path), size)[0] or UNREADABLE
    if str(path) not in problems.get(kind, []):
        note(problems, kind, str(path))
        log.warning("%s; training takes the next image instead", error)
