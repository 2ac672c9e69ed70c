"""Training on shards that are read from front to back, for sets too large for any other order."""

import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.filters import shuffle

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.samples import SampleContext, note_unreadable
from glip_pl.data.formats import Record
from glip_pl.data.formats.webdataset.webdataset import Shards, stream_records
from glip_pl.data.images import read_image
from glip_pl.data.report import tell_problems
from glip_pl.structures import Sample
from glip_pl.system.seeds import seed_of, seeded

# Samples, with the bytes of their images, that a process draws the next one from.
_BUFFER = 1000
# Many numbers of workers divide it.
_MOST_LANES = 24


class ShardStream(IterableDataset[Sample]):
    """The samples of a training set in its shards' order, mixed anew in every epoch.

    Shards are dealt to the lanes of all processes. A lane reads its shards one after the other, and
    a buffer mixes what it reads; batches come of each lane in turn. Every lane gives as many
    samples as the others: one whose shards have fewer starts over, and one whose shards have more
    leaves the rest, other ones in every epoch.

    The lanes of a process, and so its batches, are the same with any number of workers. A worker
    reads the lanes of its batches; no lane is read twice where the number of workers divides that
    of lanes. What a sample draws depends on its place alone.
    """

    def __init__(
        self,
        dataset: GroundingDataset,
        shards: Shards,
        context: SampleContext,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        """Share the shards out.

        Args:
            dataset: Chooses records; it knows its names.
            shards: What to read.
            context: What the samples are made for.
            batch_size: Samples per batch; every lane fills whole ones.
            rank: This process.
            world: How many processes there are.
            num_workers: Loaders of each process; with 0 it loads itself.
            seed: Fixes the order of every epoch.
            epoch: The first one; later ones follow by themselves.

        Raises:
            ValueError: There are fewer shards than loaders, or less than a batch for each.
        """
        self.dataset, self.shards, self.context = dataset, shards, context
        self.maker = dataset.maker(context)
        self.problems: Problems = {}
        self.rank, self.world, self.seed = rank, world, seed
        self.epoch, self.first, self._batch_size = epoch, 0, batch_size
        loaders = max(num_workers, 1)
        everywhere = world * loaders
        if len(shards.files) < everywhere:
            raise ValueError(
                f"{len(shards.files)} shards cannot be shared by {everywhere} loaders ({world} "
                f"processes with {loaders}); lower data.num_workers, or write smaller shards"
            )
        if shards.count // everywhere < batch_size:
            raise ValueError(
                f"{shards.count} records are less than a batch of {batch_size} for each of "
                f"{everywhere} loaders; lower data.batch_size or data.num_workers"
            )
        whole = shards.count // (world * batch_size)
        self.lanes = min(len(shards.files) // world, _MOST_LANES, whole)
        self._batches = whole // self.lanes

    def start(self, epoch: int, first: int) -> None:
        """Begin the next reading with an epoch and a batch of it, in workers that start then."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        """Count the samples that an epoch of this process has."""
        return self._batches * self.lanes * self._batch_size

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, first = self.epoch, self.first
        # Without `start`, workers live as long as the training and count the epochs for themselves.
        self.epoch, self.first = epoch + 1, 0
        generator = torch.Generator().manual_seed(self.seed + epoch)
        order = torch.randperm(len(self.shards.files), generator=generator).tolist()
        lanes: dict[int, _Lane] = {}
        for batch in range(first + number, self._batches * self.lanes, workers):
            turn, own = divmod(batch, self.lanes)
            place = self.rank * self.lanes + own
            if own not in lanes:
                files = [self.shards.files[i] for i in order[place :: self.world * self.lanes]]
                mixing = random.Random(f"{self.seed + epoch} {place}")
                lanes[own] = _Lane(self, files, mixing)
            for k in range(turn * self._batch_size, (turn + 1) * self._batch_size):
                with seeded(seed_of(self.seed, epoch, place, k)):
                    sample = lanes[own].sample(k)
                yield sample
        self.tell()

    def tell(self) -> None:
        """Warn of what was left out since the last time, or refuse it."""
        # Told by the loader, since one in a process of its own has the problems for itself.
        tell_problems(self.shards.common.images, self.problems, strict=self.context.strict)
        self.problems.clear()


class _Lane:
    """The readable records of some shards, over and over, in a mixed order."""

    def __init__(self, stream: ShardStream, files: list[Path], mixing: random.Random) -> None:
        self._stream, self._files, self._mixing = stream, files, mixing
        # Captions are packed with those of other images: here, of the last ones read.
        self._recent: deque[Record] = deque(maxlen=_BUFFER)
        self._given = 0
        self._mixed = self._endless()

    def sample(self, k: int) -> Sample:
        """Make the k-th sample; what lies before it is passed over."""
        stream, context = self._stream, self._stream.context
        while True:
            record, content = next(self._mixed)
            path = stream.shards.common.images / record.file_name
            skipped = self._given < k
            # What is passed over is decoded as small as can be, to leave out the same broken ones.
            side = 1 if skipped else context.short_side
            try:
                image = read_image(path, size=record.size, short_side=side, content=content)
            except ValueError as error:
                if context.strict:
                    raise
                note_unreadable(path, record.size, error, stream.problems)
                continue
            self._given += 1
            if not skipped:
                return stream.maker(record, image, self._recent)

    def _endless(self) -> Iterator[tuple[Record, bytes]]:
        buffer = max(_BUFFER // self._stream.lanes, 1)
        while True:
            given = self._given
            yield from shuffle(buffer, buffer, rng=self._mixing)(self._records())
            if self._given == given:
                names = ", ".join(file.name for file in self._files)
                raise ValueError(f"no sample of {names} can be used; run glip data check on them")

    def _records(self) -> Iterator[tuple[Record, bytes]]:
        stream = self._stream
        for records, content in stream_records(self._files, stream.problems):
            chosen = stream.dataset.select(stream.shards.with_records(records), stream.problems)
            for record in stream.maker.readable(chosen, stream.problems):
                self._recent.append(record)
                yield record, content
            if stream.context.strict:
                stream.tell()
        if stream.context.strict:
            stream.tell()
