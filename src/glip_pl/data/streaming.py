"""Training on sets that are read from front to back, for data too large for any other order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from glip_pl.data.stream_sources import SampleSource
from glip_pl.structures import Sample
from glip_pl.system.seeds import seed_of, seeded

# Many numbers of workers divide it.
_MOST_LANES = 24


class SampleStream(IterableDataset[Sample]):
    """The samples of some sets, mixed by weight, in another order in every epoch.

    Every set is dealt to the lanes of all processes; batches come of each lane in turn. Which set a
    sample comes from is drawn for its place in the lane. Every lane gives as many samples as the
    others: one whose part of a set has fewer starts over, and one whose part has more leaves the
    rest, other ones in every epoch.

    The lanes of a process, and so its batches, are the same with any number of workers. A worker
    reads the lanes of its batches; no lane is read twice where the number of workers divides that
    of lanes. What a sample draws depends on its place alone.
    """

    def __init__(
        self,
        sources: Sequence[SampleSource],
        weights: Sequence[float] | None = None,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        """Share the sets out.

        Args:
            sources: The sets.
            weights: How often each is drawn, relative to the others; by default as many images as
                it has.
            batch_size: Samples per batch; every lane fills whole ones.
            rank: This process.
            world: How many processes there are.
            num_workers: Loaders of each process; with 0 it loads itself.
            seed: Fixes the order of every epoch.
            epoch: The first one; later ones follow by themselves.

        Raises:
            ValueError: There are fewer shards than loaders, or less than a batch for each.
        """
        self._sources = sources
        self._weights = list(weights or [source.count for source in sources])
        self.rank, self.world, self.seed = rank, world, seed
        self.epoch, self.first, self._batch_size = epoch, 0, batch_size
        loaders = max(num_workers, 1)
        everywhere = world * loaders
        for source in sources:
            if source.parts is not None and source.parts < everywhere:
                raise ValueError(
                    f"{source.parts} shards of {source.name!r} cannot be shared by {everywhere} "
                    f"loaders ({world} processes with {loaders}); lower data.num_workers, or write "
                    "smaller shards"
                )
        total = sum(source.count for source in sources)
        if total // everywhere < batch_size:
            raise ValueError(
                f"{total} records are less than a batch of {batch_size} for each of "
                f"{everywhere} loaders; lower data.batch_size or data.num_workers"
            )
        whole = total // (world * batch_size)
        parts = [source.parts // world for source in sources if source.parts is not None]
        self.lanes = min([*parts, _MOST_LANES, whole])
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
        lanes: dict[int, _MixedLane] = {}
        for batch in range(first + number, self._batches * self.lanes, workers):
            turn, own = divmod(batch, self.lanes)
            place = self.rank * self.lanes + own
            if own not in lanes:
                lanes[own] = self._open(place, epoch)
            for k in range(turn * self._batch_size, (turn + 1) * self._batch_size):
                with seeded(seed_of(self.seed, epoch, place, k)):
                    sample = lanes[own].sample(k)
                yield sample
        for source in self._sources:
            source.tell()

    def _open(self, place: int, epoch: int) -> "_MixedLane":
        """Open a lane: what it takes of each set, and the set of each of its samples."""
        parts = [
            source.lane(place, self.world * self.lanes, seed=self.seed, epoch=epoch)
            for source in self._sources
        ]
        length = self._batches * self._batch_size
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, place, "mixture"))
        sums = torch.tensor(self._weights, dtype=torch.double).cumsum(0)
        points = torch.rand(length, generator=generator, dtype=torch.double) * sums[-1]
        drawn = torch.searchsorted(sums, points, right=True).clamp(max=len(parts) - 1)
        numbers = torch.empty_like(drawn)
        for which in range(len(parts)):
            own = drawn == which
            numbers[own] = torch.arange(int(own.sum()))
        return _MixedLane(parts, drawn, numbers)


@dataclass(frozen=True)
class _MixedLane:
    """A lane's parts of the sets, the set of each sample, and its number within the part."""

    parts: list[Callable[[int], Sample]]
    drawn: Tensor
    numbers: Tensor

    def sample(self, k: int) -> Sample:
        """Make the k-th sample."""
        return self.parts[int(self.drawn[k])](int(self.numbers[k]))
