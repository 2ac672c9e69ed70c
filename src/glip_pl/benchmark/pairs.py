"""A model of the Grounding DINO family timed beside transformers, in interleaved pairs."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from glip_pl.benchmark.equality import Comparison, compare
from glip_pl.benchmark.limits import Limits, measure_limits
from glip_pl.benchmark.measure import StageTimes, end_peak, first_run, start_peak
from glip_pl.benchmark.oracle import Oracle, in_transformers
from glip_pl.benchmark.run import Asked, machine, workload_of
from glip_pl.benchmark.workload import Result, Workload
from glip_pl.system.memory import keep_freed_memory
from glip_pl.system.screen import write
from glip_pl.training.task import GroundingTask


@dataclass(frozen=True)
class PairReport:
    """What one run found; the JSON file holds just this.

    Attributes:
        asked: The options.
        seconds: Of each pair, here and in transformers (which computes in fp32).
        peak_bytes: Most memory of a run beyond what was in use before, likewise.
        operations: Of a run here.
        bytes: What that has to read and write at least.
        prompts: How many prompts the names take, of which transformers ran one, counted so often.
        comparison: How far the outputs of the first prompt are apart, with the same cells as
            queries; None for training steps, whose losses differ.
        machine: What it ran on.
        limits: What that can do at most.
    """

    asked: dict[str, Any]
    seconds: list[tuple[float, float]]
    peak_bytes: tuple[int | None, int | None]
    operations: int
    bytes: int
    prompts: int
    comparison: Comparison | None
    machine: dict[str, str]
    limits: Limits

    def ratio(self) -> float:
        """Return how many times as fast as transformers it is here, the median over the pairs."""
        return statistics.median(theirs / ours for ours, theirs in self.seconds)


def time_pairs(task: GroundingTask, described: Mapping[str, Any], asked: Asked) -> PairReport:
    """Time a model here and in transformers by turns.

    Args:
        task: Has the model.
        described: Its description; see `glip_pl.weights.network`.
        asked: What is timed.

    Raises:
        ValueError: The model is none of the family, a training step has more names than one prompt
            takes, or an image has fewer cells than there are queries.
    """
    ours = workload_of(task, asked)
    oracle = Oracle(in_transformers(task, described), ours, train=asked.train)
    keep_freed_memory()
    comparison = None
    expected = None if asked.train else oracle.result()
    ours.prepare(compiled=asked.compiled)
    if expected is not None:
        comparison = compare(_result(ours, expected[1]), expected[0])
    peak, operations = first_run(lambda: ours.run(StageTimes(ours.device)), ours.device)
    before = start_peak(ours.device)
    oracle.run()
    peaks = peak, end_peak(ours.device, before)
    seconds = []
    for _ in range(asked.repeats):
        clock = StageTimes(ours.device)
        start = clock.now()
        ours.run(clock)
        between = clock.now()
        oracle.run()
        seconds.append((between - start, (clock.now() - between) * oracle.prompts))
    found, limits = machine(task.device), measure_limits(task.device, asked.precision)
    return PairReport(
        *(asked.options(), seconds, peaks, operations, ours.least_bytes(ours.model)),
        *(ours.prompts, comparison, found, limits),
    )


def _result(ours: Workload, chosen: Tensor) -> Result:
    """Compute with the queries of transformers: cells of nearly equal scores may change places."""
    fusion: Any = ours.model.fusion
    fusion.choose = lambda scores: chosen
    try:
        return ours.result()
    finally:
        del fusion.choose


def show_pairs(report: PairReport) -> None:
    """Show the pairs, the ratio, memory, and what the comparison found."""
    asked = report.asked
    write(
        f"{asked['model']}, {asked['step']}, {asked['size']} x {asked['batch_size']}, "
        f"{asked['names']} names, {asked['precision']}",
    )
    for ours, theirs in report.seconds:
        write(f"  here {ours:8.2f} s   transformers {theirs:8.2f} s")
    write(f"{report.ratio():.1f} times as fast, the median of the pairs")
    peaks = [f"{peak / 1e6:,.0f}" if peak is not None else "?" for peak in report.peak_bytes]
    write(
        f"peak memory beyond the weights, MB: here {peaks[0]}, transformers {peaks[1]}",
    )
    if report.prompts > 1:
        write(f"{report.prompts} prompts; transformers ran one, counted so often")
    if report.comparison:
        write(*report.comparison.lines())
    write(", ".join(f"{k} {v}" for k, v in report.machine.items() if v))
    middle = statistics.median(ours for ours, _ in report.seconds)
    write(report.limits.told(report.operations, report.bytes, middle))
