"""Data sets that are loaded and joined with a tokenizer, as tests look at them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers import FakeTokenizer

from glip_pl.data import GroundingDataset
from glip_pl.data.datasets.samples import SampleContext
from glip_pl.structures import Sample


class LoadedSet:
    """A data set with its samples: indexed for these, and else the set itself."""

    def __init__(self, dataset: GroundingDataset, context: SampleContext) -> None:
        self._dataset, self._samples = dataset, dataset.samples(context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def loaded(
    dataset: GroundingDataset,
    root: Path,
    *,
    max_tokens: int = 64,
    training: bool = False,
    strict: bool = False,
    transform: Callable[[Sample], Sample] | None = None,
    short_side: int | None = None,
) -> LoadedSet:
    """Load a data set for a tokenizer of so many tokens."""
    dataset.load(root, training=training, strict=strict)
    context = SampleContext(
        FakeTokenizer(max_tokens),
        training=training,
        strict=strict,
        transform=transform,
        short_side=short_side,
    )
    return LoadedSet(dataset, context)
