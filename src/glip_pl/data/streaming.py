"""Training on shards that are read from front to back, for sets too large for any other order."""

import random
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.filters import shuffle

from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.formats.webdataset.webdataset import Shards, stream_records
from glip_pl.data.images import read_image
from glip_pl.structures import Sample

# Samples, with the bytes of their images, that the next one is drawn from.
_BUFFER = 1000


class ShardStream(IterableDataset[Sample]):
    """The samples of a training set in its shards' order, mixed anew in every epoch.

    Shards are dealt to the loaders of all processes, which read them one after the other; a buffer
    mixes what they read. Every loader gives as many samples as the others: one whose shards have
    fewer starts over, and one whose shards have more leaves the rest, other ones in every epoch.
    """

    def __init__(
        self,
        dataset: GroundingDataset,
        shards: Shards,
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
            dataset: Makes samples of records.
            shards: What to read.
            batch_size: Samples per batch; every loader fills whole ones.
            rank: This process.
            world: How many processes there are.
            num_workers: Loaders of each process; with 0 it loads itself.
            seed: Fixes the order of every epoch.
            epoch: The first one; later ones follow by themselves.

        Raises:
            ValueError: There are fewer shards than loaders, or less than a batch for each.
        """
        self.dataset, self.shards = dataset, shards
        self.rank, self.world, self.seed, self.epoch = rank, world, seed, epoch
        self._loaders = max(num_workers, 1)
        everywhere = world * self._loaders
        if len(shards.files) < everywhere:
            raise ValueError(
                f"{len(shards.files)} shards cannot be shared by {everywhere} loaders ({world} "
                f"processes with {self._loaders}); lower data.num_workers, or write smaller shards"
            )
        self._share = shards.count // everywhere // batch_size * batch_size
        if self._share == 0:
            raise ValueError(
                f"{shards.count} records are less than a batch of {batch_size} for each of "
                f"{everywhere} loaders; lower data.batch_size or data.num_workers"
            )

    def __len__(self) -> int:
        """Count the samples that an epoch of this process has."""
        return self._share * self._loaders

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        loader = self.rank * self._loaders + (worker.id if worker else 0)
        seed = self.seed + self.epoch
        # Loaders live as long as the training, so that each counts the epochs for itself.
        self.epoch += 1
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.shards.files), generator=generator).tolist()
        files = [self.shards.files[i] for i in order[loader :: self.world * self._loaders]]
        mixing = random.Random(f"{seed} {loader}")
        yield from islice(self._samples(files, mixing), self._share)
        self._tell()

    def _samples(self, files: list[Path], mixing: random.Random) -> Iterator[Sample]:
        """Read the files over and over."""
        while True:
            given = 0
            for record, content in shuffle(_BUFFER, _BUFFER, rng=mixing)(self._records(files)):
                read = partial(read_image, record.path, size=record.size, content=content)
                try:
                    image = read(short_side=self.dataset.short_side)
                except ValueError as error:
                    if self.dataset.strict:
                        raise
                    self.dataset.note_unreadable(record, error)
                    continue
                given += 1
                yield self.dataset.finished(record, image)
            if not given:
                names = ", ".join(file.name for file in files)
                raise ValueError(f"no sample of {names} can be used; run glip data check on them")

    def _records(self, files: list[Path]) -> Iterator[tuple[Any, bytes]]:
        recent: deque[Any] = deque(maxlen=_BUFFER)
        # Captions are packed with those of other images: here, of the last ones read.
        self.dataset.remember(recent)
        for records, content in stream_records(files, self.dataset.problems):
            found = self.dataset.select(self.shards.with_records(records))
            usable = self.dataset.fitting(found)
            if self.dataset.strict:
                self._tell()
            for record in usable:
                recent.append(record)
                yield record, content

    def _tell(self) -> None:
        # Told by the loader, since one in a process of its own has the problems for itself.
        self.dataset.tell(self.shards.common.images, self.dataset.problems)
        self.dataset.problems.clear()
