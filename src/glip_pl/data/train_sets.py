"""What a run trains on: sets read as a whole or as a stream, and old ones that are replayed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch.utils.data import DataLoader

from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.samples import SampleContext
from glip_pl.data.descriptions import read_training_part
from glip_pl.data.formats import FORMATS
from glip_pl.data.formats.webdataset.shard_files import Shards, open_shards
from glip_pl.data.loaders import Loading, stream_loader, train_loader
from glip_pl.data.replay import Replay
from glip_pl.data.sampling import Sampling
from glip_pl.data.stream_sources import ShardSource, WholeSource
from glip_pl.data.streaming import SampleStream
from glip_pl.data.transforms import Pipeline
from glip_pl.structures import Sample


class TrainSets:
    """The training sets of a data module, and those that are replayed with them."""

    def __init__(self, sets: list[GroundingDataset], sampling: Sampling) -> None:
        """Note what to train on; nothing is read before `load`.

        Args:
            sets: The new sets.
            sampling: How batches are drawn from them.

        Raises:
            ValueError: The weights do not fit the sets.
        """
        sampling.check_weights(len(sets))
        self._sets, self._old = sets, list[GroundingDataset]()
        self._sampling = sampling
        self._shards: dict[int, Shards] = {}  # Of the sets that are streamed, by position.
        self._is_loaded = False

    @property
    def names(self) -> list[str]:
        """All names of the sets, once loaded; empty when phrases are free text."""
        sets = [*self._sets, *self._old]
        return list(dict.fromkeys(name for dataset in sets for name in dataset.names))

    def load(self, root: Path, *, strict: bool) -> None:
        """Read the annotations, once.

        Raises:
            ValueError: A set cannot be used, or none has a box.
        """
        if self._is_loaded:
            return
        if self._sampling.stream:
            self._shards = _open_shards(self._sets, root)
        whole = [d for i, d in enumerate(self._sets) if i not in self._shards]
        for dataset in whole:
            dataset.load(root, training=True, strict=strict)
        if whole and not self._shards and not any(dataset.has_boxes for dataset in whole):
            names = ", ".join(repr(dataset.annotations) for dataset in whole)
            raise ValueError(
                f"no image of data.train ({names}) has a box but for crowds, so that nothing can "
                "be learned; correct the annotations"
            )
        if self._sampling.replay is not None:
            self._old = _load_old(self._sampling.replay, strict=strict)
        self._is_loaded = True

    def loader(
        self, context: SampleContext, loading: Loading, *, batch_size: int, transform: Pipeline
    ) -> DataLoader[Sample]:
        """Build the training loader; see `train_loader` and `stream_loader`.

        Args:
            context: What samples are made for, but for their transform.
            loading: How.
            batch_size: Images per process and step.
            transform: Applied to every sample, with a short side for each or one for a batch.

        Raises:
            ValueError: There is no set, or the text encoder cannot read what must be asked for.
        """
        if not self._sets:
            raise ValueError("data.train is empty; name a data set to train on")
        sampling = self._sampling
        # Without a transform of its own, a sample waits for the scale of its batch.
        scales = transform if sampling.has_one_scale else None
        context = replace(context, transform=None if scales else transform)
        old = [dataset.samples(context) for dataset in self._old]
        if not sampling.stream:
            return train_loader(
                [dataset.samples(context) for dataset in self._sets],
                *(old, loading, sampling),
                batch_size=batch_size,
                scales=scales,
            )
        replayed = 0 if sampling.replay is None else sampling.replay.per_batch(batch_size)
        stream = SampleStream(
            [
                ShardSource(dataset, self._shards[i], context)
                if i in self._shards
                else WholeSource(dataset.annotations, dataset.samples(context))
                for i, dataset in enumerate(self._sets)
            ],
            sampling.weights,
            batch_size=batch_size - replayed,
            rank=loading.rank,
            world=loading.world,
            num_workers=loading.num_workers,
            seed=loading.seed,
        )
        return stream_loader(stream, old, loading, batch_size=batch_size, old_per_batch=replayed)


def _open_shards(sets: Sequence[GroundingDataset], root: Path) -> dict[int, Shards]:
    """Find the shards of the sets that lie in some, by position, and read their names alone.

    Raises:
        ValueError: No set does, shards lack their description, or images were to be chosen from all
            of them.
    """
    found = {}
    for position, dataset in enumerate(sets):
        source = root / dataset.annotations
        if not FORMATS["webdataset"].detect(source):
            continue
        if getattr(dataset, "shots", None) is not None:
            raise ValueError(
                "data.sampling.stream never sees a set as a whole, and `shots` would choose from "
                "all its images; leave out one of them"
            )
        found[position] = open_shards(source, dataset.split)
        dataset.take_names(found[position].common, source)
    if not found:
        names = ", ".join(repr(dataset.annotations) for dataset in sets) or "none"
        raise ValueError(
            f"data.sampling.stream reads shards, and data.train ({names}) has none; write them by "
            "glip data convert --to=webdataset, or leave out data.sampling.stream"
        )
    return found


def _load_old(replay: Replay, *, strict: bool) -> list[GroundingDataset]:
    """Load the training sets that a description of old data names.

    Raises:
        ValueError: They are a stream, or cannot be used.
    """
    source = read_training_part(replay.data, root=replay.root, advice="data.sampling.replay.data")
    if source.sampling.stream:
        raise ValueError(
            f"data.sampling.replay.data={replay.data} is read as a stream, and old images come in "
            "any order; describe it without data.sampling.stream"
        )
    if source.builder is not None:
        source.builder.build(source.root)
    sets = [dataset.at(source.root) for dataset in source.train]
    for dataset in sets:
        dataset.load(source.root, training=True, strict=strict)
    return sets
