"""Training batches of one scale: every image of a batch is resized to the same short side.

Official GLIP draws a short side per image, so a batch is padded to its largest. Drawn per batch,
and together with `SameAspectBatches`, a third of that padding is left.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import BatchSampler, ConcatDataset, Dataset, Sampler

from glip_pl.data.sampler import SameAspectBatches
from glip_pl.data.transforms import Pipeline
from glip_pl.structures import Sample


class SameScaleBatches(Sampler[list[tuple[int, int]]]):
    """Batches of another sampler, each index with the short side that its batch has drawn.

    The draw depends on the epoch and the place in it alone, so that processes draw the same in
    every step and none waits for another's larger images.

    Attributes:
        sampler: The order of the images, where Lightning tells the epoch.
    """

    def __init__(
        self, batches: BatchSampler | SameAspectBatches, short_sides: Sequence[int], *, seed: int
    ) -> None:
        """Prepare to draw.

        Args:
            batches: Indices of the images of each batch.
            short_sides: What is drawn from, in pixels.
            seed: Same on all processes.
        """
        self.sampler = batches.sampler
        self._batches, self._short_sides, self._seed = batches, short_sides, seed

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = getattr(self.sampler, "epoch", 0)
        generator = torch.Generator().manual_seed(self._seed + epoch)
        for batch in self._batches:
            drawn = int(torch.randint(len(self._short_sides), (), generator=generator))
            yield [(index, self._short_sides[drawn]) for index in batch]

    def __len__(self) -> int:
        return len(self._batches)


class ScaledSamples(Dataset[Sample]):
    """Samples by index and short side.

    Args:
        samples: The samples as their data sets make them, not yet transformed.
        transform: Applied with the short side asked for.
    """

    def __init__(self, samples: ConcatDataset[Sample], transform: Pipeline) -> None:
        self.samples, self.transform = samples, transform

    def __getitem__(self, index_and_side: tuple[int, int]) -> Sample:
        index, short_side = index_and_side
        return self.transform(self.samples[index], short_side=short_side)

    def __len__(self) -> int:
        return len(self.samples)
