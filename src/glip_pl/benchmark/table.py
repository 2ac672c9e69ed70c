"""A run of the benchmark as a table for the screen."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from glip_pl.benchmark.run import Report
from glip_pl.system.screen import write


def show(report: Report) -> None:
    """Show the table, and what the comparison found."""
    asked, ours, base = report.asked, report.ours, report.baseline
    title = (
        f"{asked['model']}, {asked['step']}, {asked['size']} x {asked['batch_size']}, "
        f"{asked['names']} names, {asked['precision']}"
    )
    write(title)
    table = Table()
    table.add_column("stage")
    table.add_column("ms", justify="right")
    if base:
        table.add_column("baseline ms", justify="right")
        table.add_column("ratio", justify="right")
    for stage in dict.fromkeys([*ours.seconds, *(base.seconds if base else ())]):
        cells = [1000 * m.seconds.get(stage, 0.0) for m in (ours, base) if m]
        table.add_row(*_row(stage, cells, "{:,.0f}"), style="bold" if stage == "total" else "")
    if "text encoder" in ours.seconds and asked["step"] == "detection":
        # Features of captions are kept: only the first image of many waits for the text encoder.
        known = ours.seconds["total"] - ours.seconds["text encoder"]
        cells = [1000 * known, *([1000 * base.seconds["total"]] if base else ())]
        table.add_row(*_row("total, captions known", cells, "{:,.0f}"), style="bold")
    if ours.peak_bytes is not None and (base is None or base.peak_bytes is not None):
        peaks = [(m.peak_bytes or 0) / 1e6 for m in (ours, base) if m]
        table.add_row(*_row("peak memory beyond the weights, MB", peaks, "{:,.0f}"))
    operations = [m.operations / 1e9 for m in (ours, base) if m]
    table.add_row(*_row("operations, 10⁹", operations, "{:,.0f}"))
    Console().print(table)
    write(", ".join(f"{k} {v}" for k, v in report.machine.items() if v))
    write(report.limits.told(ours.operations, ours.bytes, ours.seconds["total"]))
    if base:
        write(
            f"prompts: {report.prompts[0]} here; {report.prompts[1]} in the baseline, of which one "
            "was run and counted so often"
        )
    if report.comparison:
        write(*report.comparison.lines())


def _row(name: str, cells: Sequence[float], form: str) -> list[str]:
    """Format one or two figures, and their ratio."""
    texts = [form.format(cell) for cell in cells]
    if len(cells) == 2:
        texts.append(f"{cells[1] / cells[0]:.1f}" if cells[0] else "")
    return [name, *texts]
