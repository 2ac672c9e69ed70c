"""Measuring one call: seconds by stage, peak memory and operations."""

import ctypes
import gc
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision  # noqa: F401  # Registers the operator that is counted.
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from glip_pl.layers import table_convolution  # noqa: F401  # Its operator is counted below.
from glip_pl.model import GLIP

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measurement:
    """What a call costs.

    Attributes:
        seconds: By stage and under "total".
        peak_bytes: Most memory in use beyond what was in use before; None where the system does not
            tell.
        operations: Multiplications and additions of its matrix products and convolutions.
        bytes: What it has to read and write at least: see `Workload.least_bytes`.
    """

    seconds: dict[str, float]
    peak_bytes: int | None
    operations: int
    bytes: int

    def times(self, count: int) -> "Measurement":
        """Count time and operations so often; the memory is needed again each time."""
        seconds = {stage: count * value for stage, value in self.seconds.items()}
        return Measurement(seconds, self.peak_bytes, count * self.operations, count * self.bytes)


class StageTimes:
    """Seconds by stage of one run.

    Attributes:
        seconds: Added up under each stage's name.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        start = self.now()
        yield
        self.seconds[name] += self.now() - start

    @contextmanager
    def watching(self, model: GLIP) -> Iterator[None]:
        """Time the forward pass of each part of a model."""
        handles = []
        for name, modules in stages(model).items():
            started: list[float] = []

            def start(*_: Any, started: list[float] = started) -> None:
                started.append(self.now())

            def stop(*_: Any, started: list[float] = started, name: str = name) -> None:
                self.seconds[name] += self.now() - started.pop()

            for module in modules:
                handles.append(module.register_forward_pre_hook(start))
                handles.append(module.register_forward_hook(stop))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def now(self) -> float:
        """Read the clock once all that was asked of the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def first_run(call: Callable[[], None], device: torch.device) -> tuple[int | None, int]:
    """Run a call once, and return the memory that it needs and its operations."""
    before = start_peak(device)
    with FlopCounterMode(display=False, custom_mapping=_OPERATIONS) as counter:
        call()
    return end_peak(device, before), counter.get_total_flops()


def measure(
    call: Callable[[StageTimes], None],
    model: GLIP,
    repeats: int,
    device: torch.device,
    *,
    moved: int = 0,
) -> Measurement:
    """Run a call once to count, then `repeats` times to time it.

    The first run, before which freed memory is handed back, tells how much memory it needs.

    Args:
        call: Runs the model, and times what is no part of it.
        model: Its stages are timed one by one.
        repeats: How often; the stages are those of the fastest repetition.
        device: Where it runs.
        moved: Bytes that it has to read and write at least.
    """
    peak, operations = first_run(lambda: call(StageTimes(device)), device)
    runs = []
    for _ in range(repeats):
        times = StageTimes(device)
        with times.watching(model), times.stage("total"):
            call(times)
        runs.append(dict(times.seconds))
    fastest = min(runs, key=lambda seconds: seconds["total"])
    return Measurement(fastest, peak, operations, moved)


def stages(model: GLIP) -> dict[str, list[nn.Module]]:
    """Name the parts of a model that are timed: those of `GLIP`, and those of its fusion plugin."""
    parts: dict[str, list[nn.Module]] = {
        "backbone": [model.backbone],
        "pyramid": [model.fpn],
        "text encoder": [model.text],
        "head": [model.comparing_head()],
    }
    for name, child in model.fusion.named_children():
        parts[f"fusion: {name}"] = list(child) if isinstance(child, nn.ModuleList) else [child]
    return parts


def start_peak(device: torch.device) -> int:
    """Forget the peak so far, and return the memory in use."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not _CLEAR.exists():
        return 0
    # What the C library keeps of earlier calls would hide what this one needs.
    ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text("5")
    return _kilobytes("VmRSS") * 1024


def end_peak(device: torch.device, before: int) -> int | None:
    """Return the peak since `start_peak` beyond what was in use before; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) - before
    return _kilobytes("VmHWM") * 1024 - before if _CLEAR.exists() else None


def _kilobytes(field: str) -> int:
    line = next(s for s in _STATUS.read_text().splitlines() if s.startswith(f"{field}:"))
    return int(line.split()[1])


def _of_torchvision(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Count a deformable convolution, sampling left out."""
    return int(2 * math.prod(out_shape) * math.prod(weight[1:]))


def _of_table(table: Any, *shapes: Any, out_shape: Any = None, **_: Any) -> int:
    """Count one in the form of a table, likewise."""
    kernel = shapes[2]
    return int(2 * math.prod(out_shape) * kernel[1])


def _of_linear(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Count a linear layer with what oneDNN does in one pass with it."""
    return int(2 * math.prod(out_shape) * weight[1])


_OPERATIONS = {
    torch.ops.torchvision.deform_conv2d: _of_torchvision,
    torch.ops.glip_pl.table_convolution: _of_table,
}
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    _OPERATIONS[torch.ops.mkldnn._linear_pointwise] = _of_linear
