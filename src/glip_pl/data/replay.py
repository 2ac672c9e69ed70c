"""Replay: old data among the new, so that a model that is tuned does not forget what it knew.

A fixed part of every batch comes from the data that the model was trained on before. An epoch is as
long as one of the new data; however many old ones there are, a few of them come in each.
"""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from itertools import islice

import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from glip_pl.data.streaming import SampleStream
from glip_pl.structures import Sample
from glip_pl.system.seeds import seed_of, seeded


@dataclass(frozen=True)
class Replay:
    """Which old data, and how much of them.

    Attributes:
        data: A YAML that describes them, the config.yaml of the run that was trained on them, or a
            name such as "bccd"; its training sets are taken.
        share: Part of every batch, above 0 and below 1.
        root: Folder of these data, where it is not the one that the YAML names.
    """

    data: str
    share: float = 0.5
    root: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(
                f"data.sampling.replay.share={self.share} must lie between 0 and 1, for example 0.5"
            )

    def per_batch(self, batch_size: int) -> int:
        """Count the old images of a batch: the share, rounded, but at least one of each kind.

        Raises:
            ValueError: A batch has no room for both.
        """
        if batch_size < 2:
            raise ValueError(
                "data.sampling.replay needs old and new images in every batch, but "
                f"data.batch_size is {batch_size}; give 2 or more"
            )
        return min(max(round(batch_size * self.share), 1), batch_size - 1)


class ReplaySampler(Sampler[int]):
    """Indices of new and old samples, old ones last in every batch.

    Attributes:
        epoch: Set it with `set_epoch`.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        num_old: int,
        *,
        first_old: int,
        batch_size: int,
        old_per_batch: int,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
    ) -> None:
        """Prepare to mix.

        Args:
            sampler: Order of the new samples, this process's share alone.
            num_old: How many old samples there are.
            first_old: Index of the first of them; the others follow.
            batch_size: Samples per batch.
            old_per_batch: How many of them are old.
            rank: This process.
            world: How many processes share the samples.
            seed: Same on all processes.

        Raises:
            ValueError: There are fewer new samples than a batch takes.
        """
        self._new, self._num_old, self._first_old = sampler, num_old, first_old
        self._batch_size, self._old_per_batch = batch_size, old_per_batch
        self._rank, self._world, self._seed = rank, world, seed
        self.epoch = 0
        if not self._batches:
            raise ValueError(
                f"each batch takes {batch_size - old_per_batch} new images, and there are fewer of "
                "them for each process; lower data.batch_size or raise data.sampling.replay.share"
            )

    def set_epoch(self, epoch: int) -> None:
        """Draw differently."""
        self.epoch = epoch
        if hasattr(self._new, "set_epoch"):
            self._new.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        new = iter(self._new)
        old = old_order(self._num_old, self._seed, self.epoch, self._rank, self._world)
        for _ in range(self._batches):
            yield from (next(new) for _ in range(self._batch_size - self._old_per_batch))
            yield from (self._first_old + next(old) for _ in range(self._old_per_batch))

    @property
    def _batches(self) -> int:
        assert isinstance(self._new, Sized)
        return len(self._new) // (self._batch_size - self._old_per_batch)

    def __len__(self) -> int:
        return self._batches * self._batch_size


class ReplayStream(IterableDataset[Sample]):
    """A stream of new samples with old ones behind each batch's part of it."""

    def __init__(
        self,
        stream: SampleStream,
        old: Dataset[Sample],
        *,
        new_per_batch: int,
        old_per_batch: int,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        """Prepare to mix.

        Args:
            stream: New samples; every loader gives a multiple of `new_per_batch`.
            old: Old samples, by index.
            new_per_batch: Of the former in each batch.
            old_per_batch: Of the latter.
            seed: Of the order of old samples.
            rank: This process.
        """
        self._stream, self._old = stream, old
        self._new_per_batch, self._old_per_batch = new_per_batch, old_per_batch
        self._seed, self._rank = seed, rank
        self._epoch, self._first = getattr(stream, "epoch", 0), 0

    def __len__(self) -> int:
        """Count the samples that an epoch of this process has."""
        assert isinstance(self._stream, Sized)
        return (
            len(self._stream) // self._new_per_batch * (self._new_per_batch + self._old_per_batch)
        )

    def start(self, epoch: int, first: int) -> None:
        """See `SampleStream`."""
        self._stream.start(epoch, first)
        self._epoch, self._first = epoch, first

    def __iter__(self) -> Iterator[Sample]:
        assert isinstance(self._old, Sized)
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, batch = self._epoch, self._first + number
        self._epoch, self._first = epoch + 1, 0
        order = old_order(len(self._old), seed_of(self._seed, f"{self._rank}"), epoch)
        passed = 0  # Old samples of the batches before.
        for count, sample in enumerate(self._stream, start=1):
            yield sample
            if count % self._new_per_batch == 0:
                place = batch * self._old_per_batch
                for index in islice(order, place - passed, place - passed + self._old_per_batch):
                    with seeded(seed_of(self._seed, epoch, self._rank, "old", place)):
                        old = self._old[index]
                    yield old
                    place += 1
                passed, batch = place, batch + workers


def old_order(count: int, seed: int, epoch: int, rank: int = 0, world: int = 1) -> Iterator[int]:
    """Walk over old samples without end, all of them once before any comes again."""
    generator = torch.Generator().manual_seed(seed_of(seed, epoch, "replay"))
    place = 0
    while True:
        for index in torch.randperm(count, generator=generator).tolist():
            if place % world == rank:
                yield index
            place += 1
