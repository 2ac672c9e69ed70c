"""What a stream of samples is made of: shards that are read in turn, and sets read as a whole."""

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from webdataset.filters import shuffle

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.samples import SampleContext, Samples, note_unreadable
from glip_pl.data.formats import Record
from glip_pl.data.formats.webdataset.shard_files import Shards
from glip_pl.data.formats.webdataset.shard_stream import stream_records
from glip_pl.data.images import read_image
from glip_pl.data.report import tell_problems
from glip_pl.structures import Sample
from glip_pl.system.seeds import seed_of

# Samples, with the bytes of their images, that a process draws the next one of a set from.
_BUFFER = 1000


class SampleSource(ABC):
    """One set of a stream, dealt to lanes.

    Attributes:
        name: For messages.
        count: How many samples it has.
        parts: How many lanes can have a part of their own at most; None for any number.
    """

    name: str
    count: int
    parts: int | None = None

    @abstractmethod
    def lane(self, place: int, places: int, *, seed: int, epoch: int) -> Callable[[int], Sample]:
        """Open the part of a lane in an epoch.

        Args:
            place: Which lane of all processes.
            places: How many there are.
            seed: Of the run.
            epoch: Of the run.

        Returns:
            Makes the k-th sample of the lane, for any k in ascending order, without end.
        """

    def tell(self) -> None:
        """Warn of what was left out since the last time, or refuse it."""
        return


class WholeSource(SampleSource):
    """A set that was read as a whole; in every round through it each image comes once."""

    def __init__(self, name: str, samples: Samples) -> None:
        self.name, self.count, self._samples = name, len(samples), samples

    def lane(self, place: int, places: int, *, seed: int, epoch: int) -> Callable[[int], Sample]:
        """See `SampleSource`: samples of one order are dealt to the lanes in turn."""
        rounds: dict[int, list[int]] = {}

        def sample(k: int) -> Sample:
            number, at = divmod(place + k * places, self.count)
            if number not in rounds:
                rounds.clear()
                generator = torch.Generator().manual_seed(seed_of(seed, epoch, "round", number))
                rounds[number] = torch.randperm(self.count, generator=generator).tolist()
            return self._samples[rounds[number][at]]

        return sample


class ShardSource(SampleSource):
    """The shards of a set, read one after the other; a buffer mixes what is read."""

    def __init__(self, dataset: GroundingDataset, shards: Shards, context: SampleContext) -> None:
        """Note what to read.

        Args:
            dataset: Chooses records; it knows its names.
            shards: The shards.
            context: What the samples are made for.
        """
        self.name, self.count, self.parts = dataset.annotations, shards.count, len(shards.files)
        self.dataset, self.shards, self.context = dataset, shards, context
        self.maker = dataset.maker(context)
        self.problems: Problems = {}

    def lane(self, place: int, places: int, *, seed: int, epoch: int) -> Callable[[int], Sample]:
        """See `SampleSource`: shards are dealt anew in every epoch, and read over and over."""
        generator = torch.Generator().manual_seed(seed + epoch)
        order = torch.randperm(len(self.shards.files), generator=generator).tolist()
        files = [self.shards.files[i] for i in order[place::places]]
        return _ShardLane(self, files, random.Random(f"{seed + epoch} {place}")).sample

    def tell(self) -> None:
        """See `SampleSource`."""
        # Told by the loader, since one in a process of its own has the problems for itself.
        tell_problems(self.shards.common.images, self.problems, strict=self.context.strict)
        self.problems.clear()


class _ShardLane:
    """The readable records of some shards, over and over, in a mixed order."""

    def __init__(self, source: ShardSource, files: list[Path], mixing: random.Random) -> None:
        self._source, self._files, self._mixing = source, files, mixing
        # Captions are packed with those of other images: here, of the last ones read.
        self._recent: deque[Record] = deque(maxlen=_BUFFER)
        self._buffer = max(_BUFFER * len(files) // len(source.shards.files), 1)
        self._given = 0
        self._mixed = self._endless()

    def sample(self, k: int) -> Sample:
        """Make the k-th sample; what lies before it is passed over."""
        source, context = self._source, self._source.context
        while True:
            record, content = next(self._mixed)
            path = source.shards.common.images / record.file_name
            skipped = self._given < k
            # What is passed over is decoded as small as can be, to leave out the same broken ones.
            side = 1 if skipped else context.short_side
            try:
                image = read_image(path, size=record.size, short_side=side, content=content)
            except ValueError as error:
                if context.strict:
                    raise
                note_unreadable(path, record.size, error, source.problems)
                continue
            self._given += 1
            if not skipped:
                return source.maker(record, image, self._recent)

    def _endless(self) -> Iterator[tuple[Record, bytes]]:
        while True:
            given = self._given
            yield from shuffle(self._buffer, self._buffer, rng=self._mixing)(self._records())
            if self._given == given:
                names = ", ".join(file.name for file in self._files)
                raise ValueError(f"no sample of {names} can be used; run glip data check on them")

    def _records(self) -> Iterator[tuple[Record, bytes]]:
        source = self._source
        for records, content in stream_records(self._files, source.problems):
            chosen = source.dataset.select(source.shards.with_records(records), source.problems)
            for record in source.maker.readable(chosen, source.problems):
                self._recent.append(record)
                yield record, content
            if source.context.strict:
                source.tell()
        if source.context.strict:
            source.tell()
