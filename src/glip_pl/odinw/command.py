"""``glip odinw``: one model on many small data sets, as it is or after a few training images."""

import json
import shlex
import statistics
from pathlib import Path
from typing import Any, Literal

from jsonargparse import auto_cli

from glip_pl.odinw.places import Place, locate
from glip_pl.odinw.run import Run
from glip_pl.odinw.sets import OdinwSet, odinw_13, odinw_35


def run_odinw(args: list[str]) -> None:
    """Parse the options of `odinw` and run it."""
    auto_cli(odinw, args=args, prog="glip odinw", as_positional=False)


def odinw(
    root: str,
    *,
    weights: str | None = None,
    ckpt_path: str | None = None,
    sets: str = "13",
    shots: int | Literal["full"] = 0,
    seed: int = 3,
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
        seed: Which images these are; official GLIP takes the mean of 3, 30 and 300.
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
    places = _places(sets, Path(root))
    run = Run(weights, ckpt_path, shots, seed, Path(output), shlex.split(options))
    table: dict[str, Any] = {
        "model": weights or ckpt_path,
        "shots": shots,
        "seed": seed if shots not in (0, "full") else None,
        "prompts": {place.entry.name: list(place.entry.names) for place in places},
        "sets": {},
    }
    for place in places:
        table["sets"][place.entry.name] = run(place)
        scores = [values["map"] for values in table["sets"].values()]
        table |= {"mean": statistics.fmean(scores), "median": statistics.median(scores)}
        # After each set, so that a run that breaks off has not been for nothing.
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "odinw.json").write_text(json.dumps(table, indent=2) + "\n")
    print(_written(table))
    print(f"see {run.folder / 'odinw.json'}")
    return table


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


def _written(table: dict[str, Any]) -> str:
    """Write the table for a reader, AP as a percentage."""
    rows = [
        *((name, values["map"], values["map_50"]) for name, values in table["sets"].items()),
        ("mean", table["mean"], None),
        ("median", table["median"], None),
    ]
    lines = [f"{'set':28}{'AP':>7}{'AP50':>7}"]
    for name, average, half in rows:
        lines.append(
            f"{name:28}{100 * average:7.1f}" + ("" if half is None else f"{100 * half:7.1f}")
        )
    return "\n".join(lines)
