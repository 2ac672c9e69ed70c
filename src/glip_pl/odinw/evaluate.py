"""One model on many small data sets, as it is or after a few training images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glip_pl.odinw.locate import Place, locate
from glip_pl.odinw.run import Run
from glip_pl.odinw.sets import OdinwSet, odinw_13, odinw_35
from glip_pl.odinw.table import with_averages, written
from glip_pl.system.screen import write


def evaluate(run: Run, places: Sequence[Place], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Run a model on all sets and save the table after each, should a later one break off."""
    table: dict[str, Any] = {
        **asked,
        "prompts": {place.entry.name: list(place.entry.names) for place in places},
        "sets": {},
    }
    for place in places:
        table["sets"][place.entry.name] = run(place)
        table = with_averages(table)
        _save(table, run.folder)
    return told(table, run.folder)


def told(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Print a table, save it as odinw.json, and return it."""
    write(written(table))
    write(f"see {_save(table, folder)}")
    return table


def _save(table: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "odinw.json"
    file.write_text(json.dumps(table, indent=2) + "\n")
    return file


def find_places(sets: str, root: Path) -> list[Place]:
    """Find the sets that were asked for, all of them."""
    entries = _entries(sets)
    found = {entry.name: locate(entry, root) for entry in entries}
    lacking = [entry for entry in entries if found[entry.name] is None]
    if lacking:
        there = ", ".join(name for name, place in found.items() if place) or "none"
        raise ValueError(
            f"{str(root)!r} lacks {len(lacking)} of the {len(entries)} data sets: "
            f"{', '.join(entry.name for entry in lacking)} (of these {there} is there); put them "
            f"there, for example as {root / lacking[0].folder / lacking[0].test}, or name those to "
            "evaluate with --sets=name,name"
        )
    return [place for place in found.values() if place is not None]


def _entries(sets: str) -> list[OdinwSet]:
    """Read the option `sets`."""
    lists = {"13": odinw_13(), "35": odinw_35()}
    if sets in lists:
        return lists[sets]
    known = {entry.name: entry for entry in [*lists["35"], *lists["13"]]}
    names = [name.strip() for name in sets.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"--sets={sets} has the unknown name {unknown[0] if unknown else ''!r}; pass 13, 35 or "
            f"some of {', '.join(sorted(known))}"
        )
    return [known[name] for name in names]
