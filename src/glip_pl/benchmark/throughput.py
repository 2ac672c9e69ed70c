"""Images a second of a whole set: reading, decoding and transforms beside the model alone."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from glip_pl.benchmark.run import machine
from glip_pl.benchmark.workload import still
from glip_pl.data import GroundingDataModule
from glip_pl.layers.precision import narrow_weights
from glip_pl.structures import Batch, Sample
from glip_pl.system.machine import free_cores
from glip_pl.system.memory import keep_freed_memory
from glip_pl.system.screen import write
from glip_pl.training.task import GroundingTask


@dataclass(frozen=True)
class Asked:
    """What is timed; the options of ``glip benchmark`` say more of each.

    Attributes:
        model: Its name, for the report.
        data: The name of the set, likewise.
        images: So many of the first are taken, at least: whole batches.
        precision: Of the arithmetic.
        train: Whether training steps on the training set are timed, and not detection in the first
            set of the test split.
    """

    model: str
    data: str
    images: int
    precision: Literal["fp32", "bf16"]
    train: bool


@dataclass(frozen=True)
class Throughput:
    """What one run found; the JSON file holds just this.

    Attributes:
        asked: The options, batch size and workers among them.
        images: How many were taken.
        loader: Images a second that the loader brings where nobody computes.
        model: Images a second of the model, by threads: one fewer than all, and all.
        together: The same of both at once.
        machine: What it ran on.
    """

    asked: dict[str, Any]
    images: int
    loader: float
    model: dict[int, float]
    together: dict[int, float]
    machine: dict[str, str]


def time_throughput(task: GroundingTask, data: GroundingDataModule, asked: Asked) -> Throughput:
    """Time a model on a set.

    Args:
        task: Has the model, and losses for training.
        data: What `read_descriptor` returns; its batch sizes and workers are taken.
        asked: What is timed.

    Raises:
        ValueError: The set cannot be used, or there is none.
    """
    loader, batch_size = _loader(task, data, train=asked.train)
    keep_freed_memory()
    consume = _training(task, asked) if asked.train else _detection(task, asked)
    # Workers start, and files enter the memory of the system, before the clock does.
    kept, images = _first(loader, asked.images)
    count = len(kept)
    consume(kept[0])
    all_threads = torch.get_num_threads()
    model, together = {}, {}
    for threads in dict.fromkeys((max(1, all_threads - 1), all_threads)):
        with _threads(threads):
            model[threads] = images / _seconds(kept, consume, count)
            together[threads] = images / _seconds(loader, consume, count)
    brought = images / _seconds(loader, lambda _: None, count)
    options = {
        **{"model": asked.model, "step": "training" if asked.train else "detection"},
        **{"data": asked.data, "batch_size": batch_size, "num_workers": data.num_workers},
        "precision": asked.precision,
    }
    return Throughput(options, images, brought, model, together, machine(task.device))


def _loader(
    task: GroundingTask, data: GroundingDataModule, *, train: bool
) -> tuple[DataLoader[Sample], int]:
    """Load what is timed, and return its loader and the images of a batch."""
    data.prepare_data()
    data.setup("fit" if train else "test")
    data.connect(task.model.text.tokenizer)
    if train:
        return data.train_dataloader(), data.batch_size
    loaders = data.test_dataloader()
    if not loaders:
        raise ValueError("the data have no test set; give --train=true, or data with one")
    return loaders[0], data.eval_batch_size


def _first(loader: DataLoader[Sample], least: int) -> tuple[list[Batch], int]:
    """Load batches until they have so many images, and return these and how many they have."""
    kept: list[Batch] = []
    images = 0
    for batch in loader:
        kept.append(batch)
        images += len(batch)
        if images >= least:
            break
    return kept, images


def _detection(task: GroundingTask, asked: Asked) -> Callable[[Batch], object]:
    """Detect in a batch, captions known from the second on."""
    task.model.eval()
    if asked.precision == "bf16":
        narrow_weights(task.model)

    def consume(batch: Batch) -> None:
        with torch.autocast(task.device.type, torch.bfloat16, enabled=asked.precision == "bf16"):
            task.detector(batch.to(task.device))
        _wait(task.device)

    return consume


def _training(task: GroundingTask, asked: Asked) -> Callable[[Batch], object]:
    """Take a step that learns nothing, so that each computes the same."""
    still(task.model.train())
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=0.0, fused=True)

    def consume(batch: Batch) -> None:
        moved = batch.to(task.device)
        with torch.autocast(task.device.type, torch.bfloat16, enabled=asked.precision == "bf16"):
            output = task.model(moved.images, moved.mask, moved.tokens)
            terms = task.criterion(output, moved.questions, moved.known(), moved.tokens.mask)
            loss: Tensor = task.loss_weights.total(terms)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _wait(task.device)

    return consume


def _seconds(batches: Iterable[Batch], consume: Callable[[Batch], object], count: int) -> float:
    """Time going through the first batches, the start of their iteration included."""
    start = time.perf_counter()
    for batch in islice(batches, count):
        consume(batch)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def show_throughput(found: Throughput) -> None:
    """Show the rates, and what they say of each other."""
    asked = found.asked
    write(
        f"{asked['model']}, {asked['step']}, {found.images} images of {asked['data']}, "
        f"{asked['batch_size']} at a time, {asked['num_workers']} workers, {asked['precision']}; "
        f"{free_cores()} cores"
    )
    write(f"  loader alone             {found.loader:8.2f} images/s")
    for threads, rate in found.model.items():
        together = found.together[threads]
        write(
            f"  model alone, {threads:2} threads  {rate:8.2f} images/s",
            f"  with its loader          {together:8.2f} images/s, {together / rate:.2f} of it",
        )
    rates = list(found.together.values())
    if len(rates) > 1:
        write(f"one thread more: {rates[-1] / rates[0]:.2f} times as many")
    write(", ".join(f"{k} {v}" for k, v in found.machine.items() if v))
