"""The data module: which sets are trained and tested on, and how they are batched and shared."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    Sampler,
)

from glip_pl.data.collate import collate
from glip_pl.data.datasets.base import DatasetBuilder, GroundingDataset
from glip_pl.data.datasets.readable import check_images
from glip_pl.data.formats.webdataset.webdataset import Shards, open_shards
from glip_pl.data.replay import Replay, ReplaySampler, ReplayStream, at_root
from glip_pl.data.resumable import PlacedBatches, PlacedSamples, ResumableLoader
from glip_pl.data.sampler import MixtureSampler, SameAspectBatches, SameShapeBatches
from glip_pl.data.scale import SameScaleBatches, ScaledSamples
from glip_pl.data.streaming import ShardStream
from glip_pl.data.transforms import Pipeline
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Batch, Sample
from glip_pl.system.image_size import keep_ratio_size


class GroundingDataModule(LightningDataModule):
    """Training sets, and named sets to validate and test on.

    The trainer must leave sharding to this module (``use_distributed_sampler: false``), and the
    task must give its tokenizer with `connect` before a loader is built.
    """

    def __init__(
        self,
        root: str,
        train: list[GroundingDataset],
        *,
        val: dict[str, GroundingDataset],
        test: dict[str, GroundingDataset],
        builder: DatasetBuilder | None = None,
        train_weights: list[float] | None = None,
        replay: Replay | None = None,
        batch_size: int = 4,
        group_by_aspect: bool = False,
        scale_by_batch: bool = False,
        stream: bool = False,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        train_transform: Pipeline | None = None,
        eval_transform: Pipeline | None = None,
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        """Note what to use; nothing is read yet.

        Args:
            root: Folder that the data sets' paths start from.
            train: Sets to train on, concatenated.
            val: Sets to validate on, by the key that their metrics are logged under.
            test: Sets to test on, by key.
            builder: Writes the data under `root` when they can be made.
            train_weights: How often each training set is drawn, relative to the others; by default
                each image is seen once per epoch.
            replay: Old data that take a part of every batch, so that tuning forgets less; an epoch
                is as long as one of the new data.
            batch_size: Training images per process and step.
            group_by_aspect: Whether training batches are all wide or all tall, to pad less.
            scale_by_batch: Whether the images of a training batch share one short side, which pads
                less still; official GLIP draws one per image.
            stream: Whether the training set, shards that ``glip data convert`` wrote, is read from
                front to back and never as a whole: for sets too large for the rest.
            eval_batch_size: Images per process and step when validating and testing.
            num_workers: Loader processes; 0 loads in the main process.
            train_transform: By default GLIP's: short side 480 to 800, flipped half of the time.
            eval_transform: By default GLIP's: short side 800.
            strict: Whether to stop at anything faulty in the data, rather than to leave it out with
                a warning.
            seed: Fixes the order of training samples and what their transforms draw in workers.

        Raises:
            ValueError: The weights do not fit the sets, or the evaluation would be random.
        """
        super().__init__()
        if train_weights is not None and (
            len(train_weights) != len(train) or any(not weight > 0 for weight in train_weights)
        ):
            raise ValueError(
                f"data.train_weights is {train_weights}, but data.train has {len(train)} sets; "
                "give each one a weight above 0"
            )
        if stream and (len(train) != 1 or group_by_aspect or scale_by_batch or train_weights):
            raise ValueError(
                "data.stream reads one training set from front to back, so that it cannot be mixed "
                "with others or sorted; give one set in data.train, and leave out group_by_aspect, "
                "scale_by_batch and train_weights"
            )
        self.root, self.train, self.val, self.test = Path(root).expanduser(), train, val, test
        self.builder, self.train_weights = builder, train_weights
        if replay is not None and (group_by_aspect or train_weights):
            raise ValueError(
                "data.replay fills a part of every batch, which group_by_aspect and train_weights "
                "would fill otherwise; leave them out"
            )
        self.replay, self._old = replay, list[GroundingDataset]()
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.group_by_aspect, self.scale_by_batch = group_by_aspect, scale_by_batch
        self.num_workers, self.seed = num_workers, seed
        self.stream, self.strict = stream, strict
        self.train_transform = train_transform or Pipeline(
            short_sides=(480, 560, 640, 720, 800), flip=0.5
        )
        self.eval_transform = eval_transform or Pipeline()
        if self.eval_transform.is_random:
            raise ValueError(
                f"data.eval_transform is random: {self.eval_transform}; give it one short side and "
                "leave out flip, crop and color"
            )
        self._shards: Shards | None = None
        self._tokenizer: Tokenizer | None = None
        self._loaded: list[GroundingDataset] = []
        self._resumed: dict[str, int] = {}

    @property
    def val_names(self) -> list[str]:
        """The keys of the validation sets, in the order of their loaders."""
        return list(self.val)

    @property
    def test_names(self) -> list[str]:
        """The keys of the test sets, in the order of their loaders."""
        return list(self.test)

    @property
    def class_names(self) -> list[str]:
        """All names of the training sets, once loaded; empty when phrases are free text."""
        sets = [*self.train, *self._old]
        return list(dict.fromkeys(name for dataset in sets for name in dataset.names))

    @property
    def train_files(self) -> list[str]:
        """The files of the training sets, below the name of the folder of the data."""
        return [f"{self.root.name}/{dataset.annotations}" for dataset in self.train]

    def prepare_data(self) -> None:
        """Let the builder write its data; Lightning calls this in one process per machine."""
        if self.builder is not None:
            self.builder.build(self.root)

    def setup(self, stage: str | None = None) -> None:
        """Load the annotations that a stage needs, each set once.

        Raises:
            ValueError: The root does not exist or a set cannot be used.
        """
        if not self.root.is_dir():
            raise ValueError(
                f"data root {str(self.root)!r} does not exist; pass --data.root=PATH "
                "(with make: DATA_ROOT=PATH)"
            )
        if stage in ("fit", None):
            for dataset in self.train:
                self._prepare_to_train(dataset)
                if self.stream:
                    self._open(dataset)
                else:
                    self._load(dataset)
            self._load_old()
            self._refuse_empty()
        wanted = {"fit": [self.val], "validate": [self.val], "test": [self.test]}
        for sets in wanted.get(stage, []) if stage else [self.val, self.test]:
            for dataset in sets.values():
                dataset.transform = self.eval_transform
                self._load(dataset)
                if stage == "fit":  # Else the first epoch would end at a broken image.
                    check_images(dataset, *self._place())

    def _refuse_empty(self) -> None:
        """Refuse training sets none of which has a box.

        Raises:
            ValueError: That is so.
        """
        if self.train and not self.stream and not any(dataset.has_boxes for dataset in self.train):
            names = ", ".join(repr(dataset.annotations) for dataset in self.train)
            raise ValueError(
                f"no image of data.train ({names}) has a box, so that nothing can be learned; "
                "correct the annotations"
            )

    def add_validation(self, name: str, dataset: GroundingDataset) -> None:
        """Validate on one more set, after those of `val`; called after `setup`.

        Raises:
            ValueError: The name is taken, or the set cannot be used.
        """
        if name in self.val:
            raise ValueError(f"there is a validation set {name!r} already; choose another name")
        dataset.transform = self.eval_transform
        self._load(dataset)
        self.val[name] = dataset

    def _prepare_to_train(self, dataset: GroundingDataset) -> None:
        dataset.training = True
        dataset.short_side = self.train_transform.needed_side
        # Without a transform of its own, a sample waits for the scale of its batch.
        dataset.transform = None if self.scale_by_batch else self.train_transform

    def _load_old(self) -> None:
        """Load the sets that are replayed, once."""
        if self.replay is None or self._old:
            return
        from glip_pl.data.descriptors import read_descriptor  # Which makes modules like this one.

        source = read_descriptor(self.replay.data, root=self.replay.root, advice="data.replay.data")
        if source.stream:
            raise ValueError(
                f"data.replay.data={self.replay.data} is read as a stream, and old images come "
                "in any order; describe it without data.stream"
            )
        source.prepare_data()
        for dataset in source.train:
            self._prepare_to_train(dataset)
            self._load(at_root(dataset, source.root))
        self._old = source.train

    def connect(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer that captions are read with."""
        self._tokenizer = tokenizer
        for dataset in self._loaded:
            dataset.connect(tokenizer)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Build the training loader: shuffled anew in every epoch, each process with its share."""
        if not self.train:
            raise ValueError("data.train is empty; name a data set to train on")
        samples: ConcatDataset[Sample] = ConcatDataset([*self.train, *self._old])
        if self._shards is not None:
            return self._stream_loader(self.train[0], self._shards)
        batches = self._train_batches(samples, *self._place())
        data: Dataset[Sample] = samples
        sampler: BatchSampler | SameAspectBatches | SameScaleBatches = batches
        if self.scale_by_batch:
            data = ScaledSamples(samples, self.train_transform)
            sampler = SameScaleBatches(batches, self.train_transform.short_sides, seed=self.seed)
        rank, world = self._place()
        placed = PlacedBatches(
            sampler, batch_size=self.batch_size, rank=rank, world=world, seed=self.seed
        )
        return self._resumable(
            PlacedSamples(data), batch_sampler=placed, persistent_workers=self.num_workers > 0
        )

    def _resumable(self, data: Dataset[Sample], **batching: Any) -> DataLoader[Sample]:
        """Build a training loader that goes on where a checkpoint stands.

        Args:
            data: The samples.
            batching: How `DataLoader` makes batches of them, and how long its workers live.
        """
        loader = ResumableLoader(
            data,
            **batching,
            num_workers=self.num_workers,
            collate_fn=self._collate(),
            pin_memory=torch.cuda.is_available(),
            # Of its own, so that starting workers draws nothing from the training's.
            generator=torch.Generator().manual_seed(self.seed + self._place()[0]),
        )
        if hasattr(self.trainer, "fit_loop"):
            loader.place = self._start
        return loader

    def state_dict(self) -> dict[str, int]:
        """Return where the run stands in its epoch; Lightning puts it into every checkpoint."""
        if self.trainer is None:
            return {}
        loop: Any = self.trainer.fit_loop  # Lightning types its counters too loosely.
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        return {
            "epoch": epochs.processed,
            # Counted once the optimizer has stepped: a batch that failed half-way comes again.
            "batches": batches.processed if epochs.started > epochs.processed else 0,
            "images_per_step": self.batch_size * self.trainer.world_size,
            "seed": self.seed,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a checkpoint stands, as soon as its epoch comes."""
        self._resumed = state

    def _start(self) -> tuple[int, int]:
        """Return the epoch, and how many batches of it were learned from before a resume."""
        trainer: Any = self.trainer
        epoch = trainer.fit_loop.epoch_progress.current.processed
        state = self._resumed
        if state.get("epoch") != epoch:
            return epoch, 0
        if state["seed"] != self.seed:
            raise ValueError(
                f"the checkpoint stands within an epoch that was ordered by data.seed "
                f"{state['seed']}, and {self.seed} would order it anew; leave out --data.seed"
            )
        # With another batch size or number of processes, go on behind about as many images.
        step = self.batch_size * self._place()[1]
        return epoch, state["batches"] * state["images_per_step"] // step

    def _train_batches(
        self, samples: ConcatDataset[Sample], rank: int, world: int
    ) -> BatchSampler | SameAspectBatches:
        """Order this process's share of the training samples and cut it into batches."""
        sampler: Sampler[int]
        if self.train_weights is None:
            new: ConcatDataset[Sample] = ConcatDataset(self.train)
            sampler = DistributedSampler(new, world, rank, shuffle=True, seed=self.seed)
        else:
            lengths = [len(dataset) for dataset in self.train]
            sampler = MixtureSampler(
                lengths, self.train_weights, rank=rank, world=world, seed=self.seed
            )
        if self.replay is not None:
            num_new = sum(len(dataset) for dataset in self.train)
            sampler = ReplaySampler(
                *(sampler, len(samples) - num_new),
                first_old=num_new,
                batch_size=self.batch_size,
                old_per_batch=self.replay.per_batch(self.batch_size),
                rank=rank,
                world=world,
                seed=self.seed,
            )
        if self.group_by_aspect:
            sizes = [dataset.image_size(i) for dataset in self.train for i in range(len(dataset))]
            return SameAspectBatches(sampler, sizes, self.batch_size)
        # A share smaller than a batch is a batch.
        drop_last = len(sampler) >= self.batch_size
        return BatchSampler(sampler, self.batch_size, drop_last)

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """Build a loader per validation set."""
        return [self._eval_loader(dataset) for dataset in self.val.values()]

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        """Build a loader per test set."""
        return [self._eval_loader(dataset) for dataset in self.test.values()]

    def _eval_loader(self, dataset: GroundingDataset) -> DataLoader[Sample]:
        rank, world = self._place()
        short, most = self.eval_transform.short_sides[0], self.eval_transform.max_side
        sizes = [
            keep_ratio_size(dataset.image_size(index), short, most) for index in range(len(dataset))
        ]
        return DataLoader(
            dataset,
            batch_sampler=SameShapeBatches(sizes, self.eval_batch_size, rank=rank, world=world),
            num_workers=self.num_workers,
            collate_fn=self._collate(),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    def _stream_loader(self, dataset: GroundingDataset, shards: Shards) -> DataLoader[Sample]:
        rank, world = self._place()
        old = 0 if self.replay is None else self.replay.per_batch(self.batch_size)
        new = ShardStream(
            *(dataset, shards),
            batch_size=self.batch_size - old,
            rank=rank,
            world=world,
            num_workers=self.num_workers,
            seed=self.seed,
        )
        stream: ShardStream | ReplayStream = new
        if old:
            stream = ReplayStream(
                *(new, ConcatDataset(self._old)),
                new_per_batch=self.batch_size - old,
                old_per_batch=old,
                seed=self.seed,
                rank=rank,
            )
        # Workers start anew with every epoch, so that each can be told where.
        return self._resumable(stream, batch_size=self.batch_size)

    def _open(self, dataset: GroundingDataset) -> None:
        """Read the names of a set whose records are streamed.

        Raises:
            ValueError: There are no such shards, or images were to be chosen from all of them.
        """
        if getattr(dataset, "shots", None) is not None:
            raise ValueError(
                "data.stream never sees a set as a whole, and `shots` would choose from all its "
                "images; leave out one of them"
            )
        source = self.root / dataset.annotations
        self._shards = open_shards(source, dataset.split)
        dataset.strict = self.strict
        dataset.take_names(self._shards.common, source)
        if self._tokenizer is not None:
            dataset.connect(self._tokenizer)
        self._loaded.append(dataset)

    def _load(self, dataset: GroundingDataset) -> None:
        if any(dataset is loaded for loaded in self._loaded):
            return
        dataset.strict = self.strict
        dataset.load(self.root)
        if self._tokenizer is not None:
            dataset.connect(self._tokenizer)
        self._loaded.append(dataset)

    def _collate(self) -> "partial[Batch]":
        if self._tokenizer is None:
            raise ValueError(
                "the data have no tokenizer yet; call connect(tokenizer) of the data module before "
                "asking for a loader (GroundingTask does so in its setup)"
            )
        return partial(collate, tokenizer=self._tokenizer)

    def _place(self) -> tuple[int, int]:
        """Give this process's rank and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
