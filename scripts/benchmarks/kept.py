"""Reports of the benchmark that were kept: what ``--json_file`` and `benchmark_all.py` wrote."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parents[2] / "docs/benchmarks"


@dataclass(frozen=True)
class Kept:
    """One run.

    Attributes:
        what: Model, step, images, names and precision: what runs of one line of a history share.
        machine: Processor and its matrix units.
        date: Of the run.
        commit: Of the code; "" where it was no checkout.
        seconds: Of one run of the model.
        baseline: The same of the baseline; None where it was not asked for.
        report: All of it.
    """

    what: str
    machine: str
    date: str
    commit: str
    seconds: float
    baseline: float | None
    report: dict[str, Any]


def read_kept(folder: Path) -> list[Kept]:
    """Read every report of a folder, the oldest first.

    Raises:
        ValueError: A file is no report.
    """
    found: list[Kept] = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        try:
            found += map(_kept, content if isinstance(content, list) else [content])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no report of the benchmark ({error!r}); move it elsewhere"
            ) from error
    return sorted(found, key=lambda kept: (kept.date, kept.what))


def lines(kept: Iterable[Kept]) -> dict[tuple[str, str], list[Kept]]:
    """Sort runs by what was run and where: each is one line of the history."""
    sorted_: dict[tuple[str, str], list[Kept]] = {}
    for run in kept:
        sorted_.setdefault((run.what, run.machine), []).append(run)
    return sorted_


def _kept(report: dict[str, Any]) -> Kept:
    asked, machine = report["asked"], report["machine"]
    where = f"{machine['device']} ({machine['units']})"
    if "together" in report:
        what = (
            f"{asked['model']}, {asked['step']}, {asked['data']} x {asked['batch_size']}, "
            f"{asked['num_workers']} workers, {asked['precision']}, per image"
        )
        seconds = 1 / max(report["together"].values())
        return Kept(what, where, machine["date"], machine["commit"], seconds, None, report)
    compiled = ", compiled" if asked["compiled"] else ""
    what = (
        f"{asked['model']}, {asked['step']}, {asked['size']} x {asked['batch_size']}, "
        f"{asked['names']} names, {asked['precision']}{compiled}"
    )
    if "ours" in report:
        seconds = report["ours"]["seconds"]["total"]
        baseline = report["baseline"] and report["baseline"]["seconds"]["total"]
    else:  # A model beside transformers, in pairs.
        sides = zip(*report["seconds"], strict=True)
        seconds, baseline = map(statistics.median, sides)
    return Kept(what, where, machine["date"], machine["commit"], seconds, baseline, report)
