"""What a run trains on: sets read as a whole or as a stream, and old ones that are replayed."""

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import DataLoader

from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.samples import SampleContext
from glip_pl.data.formats import FORMATS
from glip_pl.data.formats.webdataset.webdataset import Shards, open_shards
from glip_pl.data.loaders import Loading, stream_loader, train_loader
from glip_pl.data.replay import Replay
from glip_pl.data.stream_sources import ShardSource, WholeSource
from glip_pl.data.streaming import SampleStream
from glip_pl.data.transforms import Pipeline
from glip_pl.structures import Sample


class TrainSets:
    """The training sets of a data module, and those that are replayed with them."""

    def __init__(
        self,
        sets: list[GroundingDataset],
        *,
        weights: Sequence[float] | None = None,
        replay: Replay | None = None,
        stream: bool = False,
        group_by_aspect: bool = False,
        scales: Pipeline | None = None,
    ) -> None:
        """Note what to train on; nothing is read before `load`.

        Args:
            sets: The new sets.
            weights: How often each is drawn, relative to the others; None for all images once.
            replay: Which old data take a part of every batch.
            stream: Whether sets in shards are read from front to back.
            group_by_aspect: Whether batches are all wide or all tall.
            scales: Where a batch has one short side, the transform that draws it.

        Raises:
            ValueError: The options do not go together.
        """
        if weights is not None and (len(weights) != len(sets) or any(not w > 0 for w in weights)):
            raise ValueError(
                f"data.train_weights is {weights}, but data.train has {len(sets)} sets; "
                "give each one a weight above 0"
            )
        if stream and (group_by_aspect or scales):
            raise ValueError(
                "data.stream reads the training sets from front to back, so that they cannot be "
                "sorted; leave out group_by_aspect and scale_by_batch, or pass "
                "--data.group_by_aspect=false --data.scale_by_batch=false where a recipe has them"
            )
        if replay is not None and (group_by_aspect or weights):
            raise ValueError(
                "data.replay fills a part of every batch, which group_by_aspect and train_weights "
                "would fill otherwise; leave them out"
            )
        self._sets, self._old = sets, list[GroundingDataset]()
        self._weights, self._replay, self._stream = weights, replay, stream
        self._group_by_aspect, self._scales = group_by_aspect, scales
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
        if self._stream:
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
        if self._replay is not None:
            self._old = _load_old(self._replay, strict=strict)
        self._is_loaded = True

    def loader(
        self, context: SampleContext, loading: Loading, *, batch_size: int
    ) -> DataLoader[Sample]:
        """Build the training loader; see `train_loader` and `stream_loader`.

        Raises:
            ValueError: There is no set, or the text encoder cannot read what must be asked for.
        """
        if not self._sets:
            raise ValueError("data.train is empty; name a data set to train on")
        old = [dataset.samples(context) for dataset in self._old]
        if not self._stream:
            return train_loader(
                [dataset.samples(context) for dataset in self._sets],
                *(old, loading),
                batch_size=batch_size,
                weights=self._weights,
                replay=self._replay,
                group_by_aspect=self._group_by_aspect,
                scales=self._scales,
            )
        replayed = 0 if self._replay is None else self._replay.per_batch(batch_size)
        stream = SampleStream(
            [
                ShardSource(dataset, self._shards[i], context)
                if i in self._shards
                else WholeSource(dataset.annotations, dataset.samples(context))
                for i, dataset in enumerate(self._sets)
            ],
            self._weights,
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
                "data.stream never sees a set as a whole, and `shots` would choose from all its "
                "images; leave out one of them"
            )
        found[position] = open_shards(source, dataset.split)
        dataset.take_names(found[position].common, source)
    if not found:
        names = ", ".join(repr(dataset.annotations) for dataset in sets) or "none"
        raise ValueError(
            f"data.stream reads shards, and data.train ({names}) has none; write them by glip data "
            "convert --to=webdataset, or leave out data.stream"
        )
    return found


def _load_old(replay: Replay, *, strict: bool) -> list[GroundingDataset]:
    """Load the training sets that a description of old data names.

    Raises:
        ValueError: They are a stream, or cannot be used.
    """
    from glip_pl.data.descriptors import read_descriptor  # Which makes data modules.

    source = read_descriptor(replay.data, root=replay.root, advice="data.replay.data")
    if source.stream:
        raise ValueError(
            f"data.replay.data={replay.data} is read as a stream, and old images come "
            "in any order; describe it without data.stream"
        )
    source.prepare_data()
    sets = [dataset.at(source.root) for dataset in source.train]
    for dataset in sets:
        dataset.load(source.root, training=True, strict=strict)
    return sets
