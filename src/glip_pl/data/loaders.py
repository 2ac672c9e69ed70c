"""Loaders: how the samples of some sets become the batches of one process."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    Sampler,
)

from glip_pl.data.datasets.samples import Samples
from glip_pl.data.replay import ReplaySampler, ReplayStream
from glip_pl.data.resumable import PlacedBatches, PlacedSamples, ResumableLoader
from glip_pl.data.sampler import MixtureSampler, SameAspectBatches, SameShapeBatches
from glip_pl.data.sampling import Sampling
from glip_pl.data.scale import SameScaleBatches, ScaledSamples
from glip_pl.data.streaming import SampleStream
from glip_pl.data.transforms import Pipeline
from glip_pl.structures import Batch, Sample
from glip_pl.system.image_size import keep_ratio_size
from glip_pl.system.workers import guard_worker


@dataclass(frozen=True)
class Loading:
    """How every loader of a process works.

    Attributes:
        collate: Makes a batch of samples.
        num_workers: Loader processes; 0 loads in the main process.
        rank: This process.
        world: How many processes share the samples.
        seed: Fixes the order of training samples.
        start: Returns the epoch, and how many batches of it are to be passed over; None where
            nothing is resumed.
    """

    collate: Callable[[list[Sample]], Batch]
    num_workers: int = 0
    rank: int = 0
    world: int = 1
    seed: int = 0
    start: Callable[[], tuple[int, int]] | None = None

    def resumable(self, data: Dataset[Sample], **batching: Any) -> DataLoader[Sample]:
        """Build a training loader that goes on where a checkpoint stands.

        Args:
            data: The samples.
            batching: How `DataLoader` makes batches of them, and how long its workers live.
        """
        loader = ResumableLoader(
            data,
            **batching,
            num_workers=self.num_workers,
            collate_fn=self.collate,
            worker_init_fn=guard_worker,
            pin_memory=torch.cuda.is_available(),
            # Of its own, so that starting workers draws nothing from the training's.
            generator=torch.Generator().manual_seed(self.seed + self.rank),
        )
        if self.start is not None:
            loader.place = self.start
        return loader


def eval_loader(
    samples: Samples, loading: Loading, *, batch_size: int, transform: Pipeline
) -> DataLoader[Sample]:
    """Build the loader of an evaluation: images that need the same padding, in a fixed order.

    Args:
        samples: What is evaluated on.
        loading: How.
        batch_size: Images per process and step.
        transform: That of the samples, which resizes them to one short side.
    """
    short, most = transform.short_sides[0], transform.max_side
    sizes = [keep_ratio_size((h, w), short, most) for h, w in samples.sizes.tolist()]
    return DataLoader(
        samples,
        batch_sampler=SameShapeBatches(sizes, batch_size, rank=loading.rank, world=loading.world),
        num_workers=loading.num_workers,
        collate_fn=loading.collate,
        worker_init_fn=guard_worker,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=loading.num_workers > 0,
    )


def train_loader(
    new: Sequence[Samples],
    old: Sequence[Samples],
    loading: Loading,
    sampling: Sampling,
    *,
    batch_size: int,
    scales: Pipeline | None = None,
) -> DataLoader[Sample]:
    """Build a training loader: shuffled anew in every epoch, each process with its share.

    Args:
        new: The samples of each training set.
        old: Those of each set that is replayed.
        loading: How.
        sampling: How they are drawn.
        batch_size: Images per process and step.
        scales: Where a batch has one short side, the transform that draws it; the samples then wait
            for it untransformed.
    """
    samples: ConcatDataset[Sample] = ConcatDataset([*new, *old])
    order = _order(new, loading, sampling.weights)
    if sampling.replay is not None:
        first = sum(len(part) for part in new)
        order = ReplaySampler(
            *(order, len(samples) - first),
            first_old=first,
            batch_size=batch_size,
            old_per_batch=sampling.replay.per_batch(batch_size),
            rank=loading.rank,
            world=loading.world,
            seed=loading.seed,
        )
    batches: BatchSampler | SameAspectBatches | SameScaleBatches
    if sampling.is_grouped:
        sizes = np.concatenate([part.sizes for part in new])
        batches = SameAspectBatches(order, sizes, batch_size)
    else:
        assert isinstance(order, Sized)
        # A share smaller than a batch is a batch.
        batches = BatchSampler(order, batch_size, drop_last=len(order) >= batch_size)
    data: Dataset[Sample] = samples
    if scales is not None:
        data = ScaledSamples(samples, scales)
        batches = SameScaleBatches(batches, scales.short_sides, seed=loading.seed)
    placed = PlacedBatches(
        batches,
        batch_size=batch_size,
        rank=loading.rank,
        world=loading.world,
        seed=loading.seed,
    )
    return loading.resumable(
        PlacedSamples(data), batch_sampler=placed, persistent_workers=loading.num_workers > 0
    )


def _order(
    new: Sequence[Samples], loading: Loading, weights: Sequence[float] | None
) -> Sampler[int]:
    """Order the new samples of this process."""
    if weights is None:
        joined: ConcatDataset[Sample] = ConcatDataset(new)
        return DistributedSampler(
            joined, loading.world, loading.rank, shuffle=True, seed=loading.seed
        )
    return MixtureSampler(
        [len(part) for part in new],
        weights,
        rank=loading.rank,
        world=loading.world,
        seed=loading.seed,
    )


def stream_loader(
    stream: SampleStream,
    old: Sequence[Samples],
    loading: Loading,
    *,
    batch_size: int,
    old_per_batch: int = 0,
) -> DataLoader[Sample]:
    """Build a training loader of sets that are read from front to back.

    Args:
        stream: The new samples.
        old: Samples that are replayed.
        loading: How.
        batch_size: Images per process and step, old ones included.
        old_per_batch: How many of them are old.
    """
    data: SampleStream | ReplayStream = stream
    if old_per_batch:
        data = ReplayStream(
            *(stream, ConcatDataset(old)),
            new_per_batch=batch_size - old_per_batch,
            old_per_batch=old_per_batch,
            seed=loading.seed,
            rank=loading.rank,
        )
    # Workers start anew with every epoch, so that each can be told where.
    return loading.resumable(data, batch_size=batch_size)
