"""Training batches that a resumed run continues exactly: the same samples, with the same draws.

What a sample draws (scale, crop, colour, flip, negatives, other captions) depends on the seed, the
epoch and its position alone. The position travels from the sampler to the loader's workers beside
the index, so that neither their number nor a restart changes anything. A loader can start within an
epoch; what lies before is skipped by the sampler, and no image of it is read.
"""

from collections.abc import Callable, Iterator, Sized
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import DataLoader, Dataset, Sampler

from glip_pl.structures import Sample
from glip_pl.system.seeds import seed_of, seeded

# What an inner sampler yields for a sample, and the seed of the sample's place.
Placed = tuple[Any, int]


class _Batches(Protocol):
    """Batches of indices, of a known number."""

    sampler: Any

    def __iter__(self) -> Iterator[list[Any]]: ...

    def __len__(self) -> int: ...


@runtime_checkable
class _Starting(Protocol):
    """What can start within an epoch."""

    def start(self, epoch: int, first: int) -> None: ...


class PlacedBatches(Sampler[list[Placed]]):
    """Batches of another sampler, each index with the seed of its position in the epoch.

    Attributes:
        first: How many batches of the epoch are left out at its start.
    """

    def __init__(
        self, batches: _Batches, *, batch_size: int, rank: int = 0, world: int = 1, seed: int = 0
    ) -> None:
        """Prepare to number.

        Args:
            batches: Indices of the samples of each batch, this process's share alone.
            batch_size: Samples per batch at most.
            rank: This process.
            world: How many processes share the samples. Two processes draw what one with batches
                of twice the size draws, where the order is dealt in turn.
            seed: Same on all processes.
        """
        self.epoch = self.first = 0
        self._batches, self._batch_size = batches, batch_size
        self._rank, self._world, self._seed = rank, world, seed

    @property
    def sampler(self) -> "PlacedBatches":
        """Itself: where Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch; Lightning calls this before each."""
        self.epoch = epoch
        if hasattr(self._batches.sampler, "set_epoch"):
            self._batches.sampler.set_epoch(epoch)

    def start(self, epoch: int, first: int) -> None:
        """Leave out the batches of an epoch before the first one."""
        self.set_epoch(epoch)
        self.first = first

    def __iter__(self) -> Iterator[list[Placed]]:
        for number, batch in enumerate(islice(self._batches, self.first, None), self.first):
            start = number * self._batch_size
            yield [
                (index, seed_of(self._seed, self.epoch, (start + i) * self._world + self._rank))
                for i, index in enumerate(batch)
            ]

    def __len__(self) -> int:
        """Count the batches of a whole epoch, those left out as well."""
        return len(self._batches)


class PlacedSamples(Dataset[Sample]):
    """Samples that draw from the seed of their place.

    Args:
        samples: By index; whatever they draw comes from torch's generator.
    """

    def __init__(self, samples: Dataset[Sample]) -> None:
        self.samples = samples

    def __getitem__(self, placed: Placed) -> Sample:
        index, seed = placed
        with seeded(seed):
            return self.samples[index]

    def __len__(self) -> int:
        assert isinstance(self.samples, Sized)
        return len(self.samples)


class ResumableLoader(DataLoader[Sample]):
    """A loader that can start within an epoch.

    Attributes:
        place: Returns the epoch and the batch that the run goes on with. Set once the loader is
            built, since Lightning builds loaders again from the arguments of `DataLoader`.
    """

    place: Callable[[], tuple[int, int]] | None = None

    def state_dict(self) -> dict[str, int]:
        """Return nothing: the place travels with the data module's state.

        Lightning restores that of a loader only where no scheduler asked for its length before, and
        warns of loaders without these two methods.
        """
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See `state_dict`."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator: Lightning asks for the iterator of a resumed run before it tells the epoch,
        # and workers would begin to load the first one.
        if self.place is not None:
            # A stream starts by itself; torch puts a batch sampler beside it that knows no place.
            for part in (self.batch_sampler, self.dataset):
                if isinstance(part, _Starting):
                    part.start(*self.place())
        yield from super().__iter__()
