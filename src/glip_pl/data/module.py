"""The data module: which sets are trained and tested on, and how they are batched and shared."""

from functools import partial
from pathlib import Path

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from glip_pl.data.collate import collate
from glip_pl.data.datasets.base import DatasetBuilder, GroundingDataset
from glip_pl.data.datasets.readable import leave_out_broken
from glip_pl.data.datasets.samples import SampleContext, Samples
from glip_pl.data.epoch_place import EpochPlace
from glip_pl.data.loaders import Loading, eval_loader
from glip_pl.data.sampling import Sampling
from glip_pl.data.train_sets import TrainSets
from glip_pl.data.transforms import Pipeline
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.structures import Sample

# Not None, so that each of its options is one of the command line's.
_ALL_ONCE = Sampling()


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
        sampling: Sampling = _ALL_ONCE,
        batch_size: int = 4,
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
            sampling: How training batches are drawn from these sets; by default each image is seen
                once per epoch, in any order.
            batch_size: Training images per process and step.
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
        self.root, self.train, self.val, self.test = Path(root).expanduser(), train, val, test
        self.builder = builder
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed, self.strict = num_workers, seed, strict
        self.sampling = sampling
        self.train_transform = train_transform or Pipeline(
            short_sides=(480, 560, 640, 720, 800), flip=0.5
        )
        self.eval_transform = eval_transform or Pipeline()
        if self.eval_transform.is_random:
            raise ValueError(
                f"data.eval_transform is random: {self.eval_transform}; give it one short side and "
                "leave out flip, crop and color"
            )
        self._tokenizer: Tokenizer | None = None
        self._one_prompt = False
        self._train_sets = TrainSets(train, self.sampling)
        self._loaded: list[GroundingDataset] = []
        self._epoch_place = EpochPlace(batch_size, seed)

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
        return self._train_sets.names

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
            self._train_sets.load(self.root, strict=self.strict)
        wanted = {"fit": [self.val], "validate": [self.val], "test": [self.test]}
        for sets in wanted.get(stage, []) if stage else [self.val, self.test]:
            for dataset in sets.values():
                self._load(dataset)

    def connect(self, tokenizer: Tokenizer, *, one_prompt: bool = False) -> None:
        """Take what loaders need to know of the model.

        Args:
            tokenizer: Reads the prompts.
            one_prompt: Whether all training images are asked for the same names, as prompt tuning
                needs it.
        """
        self._tokenizer, self._one_prompt = tokenizer, one_prompt

    def add_validation(self, name: str, dataset: GroundingDataset) -> None:
        """Validate on one more set, after those of `val`; called after `setup`.

        Raises:
            ValueError: The name is taken, or the set cannot be used.
        """
        if name in self.val:
            raise ValueError(f"there is a validation set {name!r} already; choose another name")
        self._load(dataset)
        self.val[name] = dataset

    def train_dataloader(self) -> DataLoader[Sample]:
        """Build the training loader: shuffled anew in every epoch, each process with its share."""
        context = SampleContext(
            self._reader(),
            training=True,
            strict=self.strict,
            one_prompt=self._one_prompt,
            short_side=self.train_transform.needed_side,
        )
        return self._train_sets.loader(
            *(context, self._loading()),
            batch_size=self.batch_size,
            transform=self.train_transform,
        )

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """Build a loader per validation set."""
        return [self._eval_loader(dataset) for dataset in self.val.values()]

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        """Build a loader per test set."""
        return [self._eval_loader(dataset) for dataset in self.test.values()]

    def eval_samples(self, dataset: GroundingDataset) -> Samples:
        """Make the samples of a loaded set as an evaluation sees them."""
        return dataset.samples(
            SampleContext(self._reader(), strict=self.strict, transform=self.eval_transform)
        )

    def state_dict(self) -> dict[str, int]:
        """Return where the run stands in its epoch; Lightning puts it into every checkpoint."""
        return {} if self.trainer is None else self._epoch_place.state(self.trainer)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a checkpoint stands, as soon as its epoch comes."""
        self._epoch_place.resume(state)

    def _load(self, dataset: GroundingDataset) -> None:
        if not any(dataset is loaded for loaded in self._loaded):
            dataset.load(self.root, strict=self.strict)
            leave_out_broken(dataset, strict=self.strict)  # Which would end an evaluation.
            self._loaded.append(dataset)

    def _eval_loader(self, dataset: GroundingDataset) -> DataLoader[Sample]:
        return eval_loader(
            *(self.eval_samples(dataset), self._loading()),
            batch_size=self.eval_batch_size,
            transform=self.eval_transform,
        )

    def _loading(self) -> Loading:
        rank, world = self._place()
        return Loading(
            partial(collate, tokenizer=self._reader()),
            num_workers=self.num_workers,
            rank=rank,
            world=world,
            seed=self.seed,
            start=self._start if hasattr(self.trainer, "fit_loop") else None,
        )

    def _start(self) -> tuple[int, int]:
        assert self.trainer is not None
        return self._epoch_place.start(self.trainer)

    def _reader(self) -> Tokenizer:
        if self._tokenizer is None:
            raise ValueError(
                "the data have no tokenizer yet; call connect(tokenizer) of the data module before "
                "asking for a loader (GroundingTask does so in its setup)"
            )
        return self._tokenizer

    def _place(self) -> tuple[int, int]:
        """Return this process's rank and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
