"""One run of the benchmark: a model opened, timed and compared."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from glip_pl.benchmark.baseline import NAMES_PER_PROMPT, written_out
from glip_pl.benchmark.equality import Comparison, compare
from glip_pl.benchmark.limits import Limits, measure_limits
from glip_pl.benchmark.measure import Measurement
from glip_pl.benchmark.published import describe, random_task
from glip_pl.benchmark.vocabulary import names_to_detect
from glip_pl.benchmark.workload import (
    Detect,
    DetectOfficially,
    Train,
    Workload,
)
from glip_pl.system.machine import choose_device, commit_of, device_name, matrix_units
from glip_pl.system.memory import keep_freed_memory
from glip_pl.training.from_weights import task_of
from glip_pl.training.task import GroundingTask
from glip_pl.weights import read_weights


@dataclass(frozen=True)
class Asked:
    """What is timed; the options of ``glip benchmark`` say more of each.

    Attributes:
        model: Its name, for the report.
        names: What the prompts name.
        size: (height, width) of the images in pixels.
        batch_size: Images at a time.
        precision: Of our arithmetic.
        train: Whether a training step is timed, and not detection.
        compiled: Whether the model runs through torch.compile.
        repeats: Timed runs; the fastest counts.
    """

    model: str
    names: list[str]
    size: tuple[int, int]
    batch_size: int
    precision: Literal["fp32", "bf16"]
    train: bool
    compiled: bool
    repeats: int

    def options(self) -> dict[str, Any]:
        """Return what the JSON file says of it."""
        return {
            "model": self.model,
            "size": "x".join(map(str, self.size)),
            "names": len(self.names),
            "batch_size": self.batch_size,
            "precision": self.precision,
            "step": "training" if self.train else "detection",
            "compiled": self.compiled,
            "repeats": self.repeats,
        }


@dataclass(frozen=True)
class Report:
    """What one run of the benchmark found; the JSON file holds just this.

    Attributes:
        asked: The options.
        ours: Cost of the model as this project runs it.
        baseline: Cost of the official arrangement in fp32; None where it was not asked for.
        prompts: How often ours and the baseline run the part after the image encoder.
        comparison: How far the outputs of the two are apart.
        machine: What it ran on.
        limits: What that can do at most.
    """

    asked: dict[str, Any]
    ours: Measurement
    baseline: Measurement | None
    prompts: tuple[int, int]
    comparison: Comparison | None
    machine: dict[str, str]
    limits: Limits


def workload_of(task: GroundingTask, asked: Asked) -> Workload:
    """Make what is timed of a model.

    Raises:
        ValueError: A training step has more names than one prompt takes.
    """
    kind: type[Workload] = Train if asked.train else Detect
    workload = kind(
        *(task, task.model),
        names=asked.names,
        size=asked.size,
        batch_size=asked.batch_size,
        precision=asked.precision,
    )
    if asked.train and workload.prompts > 1:
        raise ValueError(
            f"--names={len(asked.names)} takes {workload.prompts} prompts, and a training prompt "
            "is one; give 80 or fewer"
        )
    return workload


def time_model(task: GroundingTask, asked: Asked, *, baseline: bool = False) -> Report:
    """Time a model, and where asked for the official arrangement of its weights beside it.

    Raises:
        ValueError: A training step has more names than one prompt takes.
    """
    ours = workload_of(task, asked)
    reference, expected, prompts = None, None, (ours.prompts, ours.prompts)
    if baseline:
        # Before ours, which may narrow the weights that both share.
        original = _official(task, asked, several=ours.prompts > 1)
        original.prepare()
        reference, expected = original.measure(1), original.result()
        prompts = (ours.prompts, original.prompts)
    # As every command of ours does; official GLIP leaves memory to the C library.
    keep_freed_memory()
    ours.prepare(compiled=asked.compiled)
    measured = ours.measure(asked.repeats)
    # The first prompts are the same where all names stand in one.
    comparable = expected is not None and prompts[0] == prompts[1]
    comparison = compare(ours.result(), expected) if expected and comparable else None
    found, limits = machine(task.device), measure_limits(task.device, asked.precision)
    return Report(asked.options(), measured, reference, prompts, comparison, found, limits)


def _official(task: GroundingTask, asked: Asked, *, several: bool) -> Workload:
    """Arrange a model as official GLIP does; `several` where ours takes more than one prompt."""
    kind: type[Workload] = Train if asked.train else DetectOfficially
    return kind(
        *(task, written_out(task.model)),
        names=asked.names,
        size=asked.size,
        batch_size=asked.batch_size,
        # As there, what fits into one prompt is asked at once: the 80 names of COCO.
        names_per_prompt=NAMES_PER_PROMPT if several else None,
    )


def open_model(
    model: str, fusion: str | None, weights: str | None, ckpt_path: str | None, device: str
) -> tuple[GroundingTask, Mapping[str, Any]]:
    """Build what is timed on a device: weights of any kind, or else a model by name, at random.

    Returns:
        The task, and the description of its model.
    """
    if weights is not None and ckpt_path is not None:
        raise ValueError("--weights and --ckpt_path exclude each other; pass one of them")
    source, place = weights or ckpt_path, choose_device(device)
    if source is None:
        described = describe(model, fusion)
        return random_task(described).to(place), described
    if fusion is not None:
        raise ValueError("weights have a fusion of their own; leave --fusion out")
    opened = read_weights(source)
    return task_of(opened).to(place), opened.hyper_parameters


def read_names(given: str) -> list[str]:
    """Read the option `names`: how many, or a file with one a line."""
    if given.isdigit():
        return names_to_detect(int(given))
    if not Path(given).is_file():
        raise ValueError(
            f"--names={given!r} is neither a number nor a file; give for example 80, or a text "
            "file with one name per line"
        )
    return [line.strip() for line in Path(given).read_text().splitlines() if line.strip()]


def read_size(given: str) -> tuple[int, int]:
    """Read the option `size`, height x width."""
    sides = given.split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ValueError(f"--size={given!r} is not height x width; give for example 800x1333")
    return int(sides[0]), int(sides[1])


def machine(device: torch.device) -> dict[str, str]:
    """Describe what a run ran on."""
    return {
        "device": device_name(device),
        "units": matrix_units(device),
        "threads": "" if device.type == "cuda" else str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "torchvision", "glip-pl")},
        "commit": commit_of(Path(__file__)),
    }
