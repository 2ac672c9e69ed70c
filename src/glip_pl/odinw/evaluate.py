"""One model on many small data sets, as it is or after a few training images."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from glip_pl.odinw.locate import Place, locate
from glip_pl.odinw.run import Run
from glip_pl.odinw.sets import OdinwSet, odinw_13, odinw_35
from glip_pl.odinw.table import mean_of_seeds, with_averages, written


def odinw(
    root: str,
    *,
    weights: str | None = None,
    ckpt_path: str | None = None,
    sets: str = "13",
    shots: int | Literal["full"] = 0,
    seeds: Sequence[int] = (3,),
    output: str = "runs/odinw",
    options: str = "",
) -> dict[str, Any]:
    """Evaluate a model on the data sets of ODinW, and print and save a table.

    Args:
        root: Folder of the data sets: official GLIP's, or folders such as pothole/ with
            annotations/test.json and images/.
        weights: A folder that `glip convert` wrote, a file of official GLIP, or the name of a
            published checkpoint such as glip_t.
        ckpt_path: In its place, a checkpoint that `glip fit` wrote.
        sets: "13" or "35", with official GLIP's prompts of that list, or names with commas between;
            those of the 13 get the prompts of that list.
        shots: 0 tests the model as it is; 1, 3, 5, 10 or "full" fine-tunes it first, for each set
            anew, on images that show each category so often.
        seeds: Which images these are. Of several, each gets a table of its own, and odinw.json
            their mean; official GLIP's is that of [3,30,300].
        output: Folder for configurations, checkpoints, results and the table, odinw.json.
        options: Further options of `glip fit` and `glip test` in quotes, such as
            "--trainer.devices=2 --data.num_workers=4".

    Returns:
        What odinw.json holds.
    """
    if (weights is None) == (ckpt_path is None):
        raise ValueError("glip odinw needs a model; pass either --ckpt_path or --weights")
    if shots != "full" and shots < 0:
        raise ValueError(f"shots is {shots}; pass 0, 1, 3, 5, 10 or full")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {list(seeds)}; pass one or more, each once, such as [3,30,300]")
    places = _places(sets, Path(root))
    few = shots not in (0, "full")  # Of all images, or of none, a seed chooses nothing.
    tables = []
    for seed in seeds if few else seeds[:1]:
        run = Run(weights, ckpt_path, shots, seed, Path(output), shlex.split(options))
        asked = {"model": weights or ckpt_path, "shots": shots, "seed": seed if few else None}
        tables.append(_evaluate(run, places, asked))
    if len(tables) == 1:
        return tables[0]
    return _told(mean_of_seeds(tables), Path(output) / f"shot{shots}")


def _evaluate(run: Run, places: Sequence[Place], asked: Mapping[str, Any]) -> dict[str, Any]:
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
    return _told(table, run.folder)


def _told(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    print(written(table))
    print(f"see {_save(table, folder)}")
    return table


def _save(table: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "odinw.json"
    file.write_text(json.dumps(table, indent=2) + "\n")
    return file


def _places(sets: str, root: Path) -> list[Place]:
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
            f"sets={sets!r} has the unknown name {unknown[0] if unknown else ''!r}; pass 13, 35 or "
            f"some of {', '.join(sorted(known))}"
        )
    return [known[name] for name in names]
