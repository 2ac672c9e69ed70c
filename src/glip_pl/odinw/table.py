"""The table of an ODinW evaluation: AP of each set, and what is averaged over sets and seeds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Scores = Mapping[str, float | None]


def with_averages(table: Mapping[str, Any]) -> dict[str, Any]:
    """Add the mean and the median of the sets' AP."""
    scores = [values["map"] for values in table["sets"].values()]
    return {**table, "mean": statistics.fmean(scores), "median": statistics.median(scores)}


def mean_of_seeds(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the tables of equal runs with different few-shot images.

    Returns:
        A table whose `seed` lists all of them, with the mean of each value and, as `deviation`, the
        standard deviation of each set's AP among the seeds.
    """
    sets = {name: [table["sets"][name] for table in tables] for name in tables[0]["sets"]}
    means = {name: _mean(scores) for name, scores in sets.items()}
    deviation = {
        name: statistics.stdev(values["map"] for values in scores) for name, scores in sets.items()
    }
    seeds = [table["seed"] for table in tables]
    return with_averages({**tables[0], "seed": seeds, "sets": means, "deviation": deviation})


def _mean(scores: Sequence[Scores]) -> dict[str, float | None]:
    """Average each value; None, as of a size that no object has, stays None."""
    means = {}
    for key in scores[0]:
        known = [value for values in scores if (value := values[key]) is not None]
        means[key] = statistics.fmean(known) if known else None
    return means


def written(table: Mapping[str, Any]) -> str:
    """Write the table for a reader, AP as a percentage."""
    rows = [
        *((name, values["map"], values["map_50"]) for name, values in table["sets"].items()),
        ("mean", table["mean"], None),
        ("median", table["median"], None),
    ]
    deviation = table.get("deviation", {})
    lines = [f"{'set':28}{'AP':>7}{'AP50':>7}" + ("  +- AP" if deviation else "")]
    for name, average, half in rows:
        line = f"{name:28}{100 * average:7.1f}" + ("" if half is None else f"{100 * half:7.1f}")
        lines.append(line + (f"{100 * deviation[name]:7.1f}" if name in deviation else ""))
    return "\n".join(lines)
