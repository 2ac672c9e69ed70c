"""The table of docs/performance.md that holds what was measured on a GPU."""

import re
from pathlib import Path

from benchmarks.kept import Kept, lines
from benchmarks.rows import ROWS, Row

from glip_pl.benchmark.limits import Limits

PAGE = Path(__file__).parents[2] / "docs/performance.md"
BEGIN, END = "<!-- benchmark_all.py writes this -->", "<!-- until here -->"
HEAD = (
    "| model, names | batch | precision | ms | images/s | times the bound "
    "| times the baseline | memory, GB |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def table(kept: list[Kept]) -> str:
    """Return the newest run of every row on every GPU; rows without one stay empty."""
    on_gpus = [run for run in kept if "sm_" in run.machine]
    machines = sorted({run.machine for run in on_gpus})
    newest = {what: runs[-1] for what, runs in lines(on_gpus).items()}
    parts = []
    for machine in machines or [""]:
        body = [_line(row, _of(row, machine, newest)) for row in ROWS]
        told = machine or "Not measured: no GPU was at hand. `make gpu` fills the table"
        parts.append("\n".join([f"{told}.\n", HEAD, *body]))
    return "\n\n".join(parts)


def write_table(page: Path, kept: list[Kept]) -> None:
    """Write it between its marks."""
    text = page.read_text()
    page.write_text(replaced(text, kept))


def replaced(text: str, kept: list[Kept]) -> str:
    """Return a page with the table of what is kept."""
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    return re.sub(pattern, lambda _: f"{BEGIN}\n{table(kept)}\n{END}", text, flags=re.DOTALL)


def _of(row: Row, machine: str, newest: dict[tuple[str, str], Kept]) -> Kept | None:
    """Find the run of a row."""
    step = "training" if row.train else "detection"
    compiled = ", compiled" if row.compiled else ""
    size = "x".join(map(str, row.size))
    what = f"{row.name}, {step}, {size} x {row.batch}, {row.names} names, {row.precision}{compiled}"
    return newest.get((what, machine))


def _line(row: Row, run: Kept | None) -> str:
    title = f"{row.name}, {row.names}"
    title += f", training {row.size[0]}x{row.size[1]}" if row.train else ""
    title += ", compiled" if row.compiled else ""
    cells = [title, str(row.batch), row.precision, *(_figures(row, run) if run else [""] * 5)]
    return f"| {' | '.join(cells)} |"


def _figures(row: Row, run: Kept) -> list[str]:
    report, limits = run.report, Limits(**run.report["limits"])
    # One run, or pairs beside transformers.
    ours, several = report.get("ours", report), "ours" not in report
    peak = ours["peak_bytes"][0] if several else ours["peak_bytes"]
    share = f"{run.seconds / limits.least(ours['operations'], ours['bytes']):.1f}"
    ratio = f"{run.baseline / run.seconds:.1f}" if run.baseline else ""
    memory = f"{peak / 1e9:.2f}" if peak else ""
    return [f"{1000 * run.seconds:,.1f}", f"{row.batch / run.seconds:,.1f}", share, ratio, memory]
