"""Samplers: which images make a batch, and which process gets it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Sized
from itertools import islice

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from glip_pl.system.image_size import PAD_MULTIPLE


class SameShapeBatches(Sampler[list[int]]):
    """Evaluation batches of images that need the same padding, in a fixed order.

    No image's result then depends on its neighbours, and padding costs nothing. Every image is seen
    by exactly one process, so processes may get one batch more or less than others.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], batch_size: int, *, rank: int = 0, world: int = 1
    ) -> None:
        """Group images.

        Args:
            sizes: (height, width) of every image as the model gets it, before padding.
            batch_size: Images per batch at most.
            rank: This process.
            world: How many processes share the batches.

        Raises:
            ValueError: There are fewer images than processes; one without work would wait forever.
        """
        if len(sizes) < world:
            raise ValueError(
                f"{len(sizes)} images cannot be shared by {world} processes; "
                f"evaluate with --trainer.devices={max(len(sizes), 1)} or fewer"
            )
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, (height, width) in enumerate(sizes):
            groups[-(-height // PAD_MULTIPLE), -(-width // PAD_MULTIPLE)].append(index)
        batches = _cut(groups, batch_size)
        if len(batches) < world:
            batches = _cut(groups, 1)
        self._batches = batches[rank::world]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class SameAspectBatches(Sampler[list[int]]):
    """Training batches of images that are all wide or all tall, so that less of them is padding.

    Images come in the order of another sampler, and a batch is complete when its side has enough.
    What is left of both sides at the end is one last batch: so every process has as many batches in
    every epoch, and as many images, as without grouping. Official GLIP pre-trains with these two
    sides.
    """

    def __init__(self, sampler: Sampler[int], sizes: ArrayLike, batch_size: int) -> None:
        """Prepare to group.

        Args:
            sampler: Order of the images, this process's share alone; Lightning tells it the epoch.
            sizes: (height, width) of every image, [N, 2].
            batch_size: Images per batch; fewer only if the share is smaller than one batch.
        """
        self.sampler, self.batch_size = sampler, batch_size
        height, width = np.asarray(sizes).reshape(-1, 2).T
        self._is_wide = height < width

    def __iter__(self) -> Iterator[list[int]]:
        waiting: dict[bool, list[int]] = {True: [], False: []}
        # Cut before grouping: what is dropped is random, and a small side has its turn, too.
        for index in islice(self.sampler, len(self) * self.batch_size):
            is_wide = bool(self._is_wide[index])
            waiting[is_wide].append(index)
            if len(waiting[is_wide]) == self.batch_size:
                yield waiting[is_wide]
                waiting[is_wide] = []
        if rest := waiting[True] + waiting[False]:
            yield rest

    def __len__(self) -> int:
        assert isinstance(self.sampler, Sized)
        return max(len(self.sampler) // self.batch_size, 1)


class MixtureSampler(Sampler[int]):
    """Training indices into several concatenated data sets, drawn by weight.

    An epoch has as many samples as the sets have images together; within a set every image is
    equally likely, so a small set with a large weight is repeated.

    Attributes:
        epoch: Set it with `set_epoch`.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        weights: Sequence[float],
        *,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
    ) -> None:
        """Prepare to draw.

        Args:
            lengths: Images per set.
            weights: How often each set is drawn, relative to the others.
            rank: This process.
            world: How many processes draw; each gets a share of the same draw.
            seed: Same on all processes.
        """
        self._chances = torch.cat(
            [torch.full((n,), w / n) for n, w in zip(lengths, weights, strict=True)]
        )
        self._rank, self._world, self._seed = rank, world, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw differently; Lightning calls this at the start of every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self.epoch)
        # Drawing from running sums: torch.multinomial takes no more than 2**24 images.
        sums = self._chances.double().cumsum(0)
        points = torch.rand(len(self) * self._world, generator=generator, dtype=torch.double)
        drawn = torch.searchsorted(sums, points * sums[-1], right=True).clamp(max=len(sums) - 1)
        return iter(drawn[self._rank :: self._world].tolist())

    def __len__(self) -> int:
        return -(-len(self._chances) // self._world)


def _cut(groups: dict[tuple[int, int], list[int]], batch_size: int) -> list[list[int]]:
    """Cut every group into batches, groups in the order of their shape."""
    return [
        groups[shape][start : start + batch_size]
        for shape in sorted(groups)
        for start in range(0, len(groups[shape]), batch_size)
    ]
