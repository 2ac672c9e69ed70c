"""What a machine can do at most, measured: what the cost of a model is compared with."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

_REPEATS = 4


@dataclass(frozen=True)
class Limits:
    """The most that a device does.

    Attributes:
        operations: Multiplications and additions per second, of square matrix products in the
            precision of the run.
        bytes: Bytes read and written per second, by a copy that no cache holds.
    """

    operations: float
    bytes: float

    def least(self, operations: int, moved: int) -> float:
        """Return the seconds that so many operations take at least, or so many bytes, if longer."""
        return max(operations / self.operations, moved / self.bytes)

    def told(self, operations: int, moved: int, seconds: float) -> str:
        """Return in words how far a run is from what the device takes at least."""
        by_products, by_bytes = operations / self.operations, moved / self.bytes
        times = seconds / self.least(operations, moved)
        return (
            f"products of matrices at most {self.operations / 1e12:.3g} Tflop/s, copies "
            f"{self.bytes / 1e9:.3g} GB/s: {operations / 1e9:,.4g} · 10⁹ operations take "
            f"{1000 * by_products:,.0f} ms at least, {moved / 1e6:,.0f} MB of weights and images "
            f"{1000 * by_bytes:,.0f} ms; the run takes {times:.1f} times as long"
        )


def measure_limits(device: torch.device, precision: Literal["fp32", "bf16"]) -> Limits:
    """Measure a device; about a second, and up to 300 MB of memory, on a GPU 1.4 GB."""
    large = device.type == "cuda"
    side, size = (8192, 2**30) if large else (1024, 2**27)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matrix, cells = (
        torch.randn(side, side, device=device, dtype=dtype),
        torch.ones(size // 4, device=device),
    )
    made, copied = torch.empty_like(matrix), torch.empty_like(cells)
    with torch.inference_mode():
        product = _seconds(lambda: torch.mm(matrix, matrix, out=made), device)
        copy = _seconds(lambda: copied.copy_(cells), device)
    return Limits(2 * side**3 / product, 2 * size / copy)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the least time of a call."""
    times = []
    for _ in range(1 + _REPEATS):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
