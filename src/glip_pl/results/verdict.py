"""What `glip compare` shows: in what two protocols differ, tables of scores, and a verdict."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from glip_pl.results.class_precision import AVERAGE_PRECISION
from glip_pl.results.judge import Judgement, Score
from glip_pl.results.run_files import Run

# Of a set's record these are for people: other places may hold the same data.
_PLACES = ("file", "folder")
_SHOWN = 40
# Of a larger vocabulary the table has the classes that differ most.
_ROWS = 100
# One interval in 20 leaves out 0 where there is no difference.
_MANY = 20
# The AP of predictions.json, rounded as it is, may be so far from the one of results.json.
_ROUNDING = 1e-3


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """List in what two records of manifests differ, places of files aside."""
    flat = [dict(_flat(record)) for record in (first, second)]
    lines = []
    for name in dict.fromkeys([*flat[0], *flat[1]]):
        values = [_short(side[name]) if name in side else "absent" for side in flat]
        if name not in flat[0] or name not in flat[1] or flat[0][name] != flat[1][name]:
            lines.append(f"{name} is {values[0]} in A, {values[1]} in B")
    return lines


def print_runs(
    console: Console,
    paths: Sequence[Path],
    runs: Sequence[Mapping[str, Any]],
    unlike: Sequence[str],
) -> None:
    """Write which run is A and which B, and in what circumstances they differ."""
    for letter, path, run in zip("AB", paths, runs, strict=True):
        weights = run["manifest"]["weights"]["sha256"][:12]
        console.print(f"[bold]{letter}[/bold]  {path.parent}  (weights {weights})", highlight=False)
    told = ("precision", "device", "versions", "seed")
    sides = [{key: run["manifest"][key] for key in told} for run in runs]
    for line in differences(sides[0], sides[1]):
        console.print(f"   {line}", style="dim", highlight=False, markup=False)
    for line in unlike:
        console.print(f"   not alike: {line}", style="yellow", highlight=False, markup=False)


def print_set(
    console: Console, name: str, judgement: Judgement, runs: Sequence[Run], *, samples: int
) -> None:
    """Print the table of one set, and below it the verdict in words."""
    table = Table(title=f"{name}: {judgement.metric}, {judgement.num_images} images")
    table.add_column("class" if judgement.classes else "score")
    if judgement.classes:
        table.add_column("boxes", justify="right")
    for column in ("A", "B", "B - A", "95 % interval"):
        table.add_column(column, justify="right", no_wrap=True)
    shown = _most_different(judgement.classes)
    for group in (shown, judgement.scores):
        for score in group:
            boxes = [str(score.num_true or "")] if judgement.classes else []
            values = (f"{score.first:.3f}", f"{score.second:.3f}", f"{score.difference:+.3f}")
            row = (score.name, *boxes, *values, _between(score))
            table.add_row(*row, style=_color(score))
        table.add_section()
    console.print(table)
    if len(shown) < len(judgement.classes):
        console.print(
            f"Of {len(judgement.classes)} classes these are the {len(shown)} that differ most, "
            "those beyond the noise first; --json=FILE has all.",
            style="dim",
            highlight=False,
        )
    if judgement.scores:
        console.print(_verdict(judgement.scores[0], samples), highlight=False)
    if len(judgement.classes) >= _MANY:
        console.print(
            f"By chance alone about {len(judgement.classes) / 20:.0f} of the "
            f"{len(judgement.classes)} classes would stand out.",
            style="dim",
            highlight=False,
        )
    for letter, run in zip("AB", runs, strict=True):
        _print_doubt(console, letter, run, judgement)


def _most_different(classes: Sequence[Score]) -> list[Score]:
    """Choose the rows of a table, in the order of the classes."""
    ranked = sorted(classes, key=lambda score: (not score.beyond_noise, -abs(score.difference)))
    kept = {score.name for score in ranked[:_ROWS]}
    return [score for score in classes if score.name in kept]


def _verdict(score: Score, samples: int) -> str:
    """Return in words what the interval of a score means."""
    way = "above" if score.difference >= 0 else "below"
    said = f"{score.name} of B is {abs(score.difference):.3f} {way} A"
    if score.low is None:
        return f"{said}; whether that is noise cannot be told for this metric."
    said += f", 95 % interval {_between(score)} ({samples:,} draws of the images): "
    if score.beyond_noise:
        return (
            f"{said}beyond the noise of which images were tested. Another training seed may move "
            "it, too."
        )
    return f"{said}within the noise of which images were tested; neither is shown to be better."


def _between(score: Score) -> str:
    return "unknown" if score.low is None else f"{score.low:+.3f} to {score.high:+.3f}"


def _color(score: Score) -> str:
    if not score.beyond_noise:
        return ""
    return "green" if score.difference > 0 else "red"


def _print_doubt(console: Console, letter: str, run: Run, judgement: Judgement) -> None:
    """Warn where the AP that was logged is not the one found here."""
    if judgement.metric not in AVERAGE_PRECISION or not judgement.scores:
        return
    logged = run.metrics.get("map")
    found = judgement.scores[0].first if letter == "A" else judgement.scores[0].second
    if logged is not None and abs(logged - found) > _ROUNDING:
        console.print(
            f"{letter}: the test run logged an AP of {logged:.4f}; on the images of both runs it "
            f"is {found:.4f}.",
            style="yellow",
            highlight=False,
        )


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key not in _PLACES:
            yield prefix + key, value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."
