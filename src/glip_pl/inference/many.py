"""Many image files: decoded by processes of their own, detected in batches, none ends the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from glip_pl.inference.batching import MOST, View
from glip_pl.inference.options import Options, check_batch_size
from glip_pl.inference.pixels import as_pixels
from glip_pl.inference.predictor import Predictor
from glip_pl.inference.result import Result
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.system.faults import is_of_the_machine
from glip_pl.system.machine import free_cores
from glip_pl.system.workers import guard_worker

_WINDOW = 4  # Batches that are held at once, so that images of one shape come together.
_FEW = 32  # Files for which starting processes takes longer than reading them.
_MOST_WORKERS = 8
_HANDED = 8  # Images that a process hands over at once; one by one, small ones wait for the queue.

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """An image that could not be read.

    Attributes:
        name: Its path.
        reason: Why, in one line.
    """

    name: str
    reason: str


def detections(
    model: Predictor,
    paths: Sequence[str],
    prompts: Sequence[CompiledPrompt],
    options: Options,
    *,
    batch_size: int | None = None,
    num_workers: int | None = None,
) -> Iterator[Result | Failure]:
    """Detect in image files, in order.

    Args:
        model: The model.
        paths: The files; they may lie in tar files.
        prompts: What to look for in each.
        options: Which boxes are kept.
        batch_size: Images at a time; None takes more of small ones.
        num_workers: Processes that read; None takes none for a few files, else one per core.

    Yields:
        One result per file, or why it could not be read.

    Raises:
        ValueError: There are no images at a time, or fewer processes than none.
    """
    check_batch_size(batch_size)
    if num_workers is not None and num_workers < 0:
        raise ValueError(f"num_workers={num_workers} must be 0 or a positive number")
    sizes = None if options.tile else model.network.sizes(options)
    decoded = zip(paths, prompts, _decoded(paths, sizes, num_workers), strict=True)
    for window in _cut(decoded, batch_size * _WINDOW if batch_size else 2 * MOST):
        good = [(path, prompt, seen) for path, prompt, seen in window if not isinstance(seen, str)]
        seen = [image for _, _, image in good]
        asked = [prompt for _, prompt, _ in good]
        if sizes is None:
            found = model.network.detect(seen, asked, options, batch_size)
        else:
            found = model.network.detect_views(seen, asked, options, batch_size)
        results = iter(
            Result.of_detections(
                detected,
                prompt.names,
                size=_size(image),
                source=path,
                load_pixels=partial(as_pixels, path),
            )
            for (path, prompt, image), detected in zip(good, found, strict=True)
        )
        for path, _, image in window:
            yield Failure(path, image) if isinstance(image, str) else next(results)


def workers_for(count: int) -> int:
    """Return how many processes read so many files where nobody said."""
    return 0 if count < _FEW else min(free_cores() - 1, _MOST_WORKERS)


class _Files(Dataset[Any]):
    """Images by path; one that cannot be read is the reason in its place."""

    def __init__(self, paths: Sequence[str], sizes: tuple[int, int] | None) -> None:
        self._paths, self._sizes = paths, sizes

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> View | np.ndarray | str:
        try:
            pixels = as_pixels(self._paths[index])
        except Exception as error:  # Decoders raise nearly anything when the bytes are wrong.
            if is_of_the_machine(error):
                raise
            return (str(error) or type(error).__name__).splitlines()[0]
        return pixels if self._sizes is None else View.of(pixels, *self._sizes)


def _decoded(
    paths: Sequence[str], sizes: tuple[int, int] | None, num_workers: int | None
) -> Iterator[Any]:
    count = workers_for(len(paths)) if num_workers is None else num_workers
    loader = DataLoader(
        _Files(paths, sizes),
        batch_size=_HANDED,
        num_workers=count,
        collate_fn=_same,
        worker_init_fn=guard_worker,
    )
    return chain.from_iterable(loader)


def _same(images: T) -> T:
    return images


def _cut(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while window := list(islice(items, size)):
        yield window


def _size(image: View | np.ndarray) -> tuple[int, int]:
    if isinstance(image, View):
        return image.original_size
    return image.shape[0], image.shape[1]
