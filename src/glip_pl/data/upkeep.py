"""Reading a data set whole, and writing one as a whole or not at all."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from glip_pl.data.annotations import Problems
from glip_pl.data.formats import FORMATS, AnnotationSet, Format, detect_format
from glip_pl.data.formats.common.checks import CHANGES
from glip_pl.data.formats.common.doubts import doubts_of
from glip_pl.data.read_back import refuse_other
from glip_pl.data.sources import without_crowded

QUARANTINE = "quarantine.json"


def named_format(name: str) -> Format:
    """Return a format by the name that users type.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in FORMATS:
        raise ValueError(f"there is no format {name!r}; name one of {', '.join(FORMATS)}")
    return FORMATS[name]


def read_sets(path: str, name: str | None) -> tuple[Format, dict[str, AnnotationSet]]:
    """Read a data set: its format, seen where `name` is None, and its splits, train first.

    Raises:
        ValueError: There is nothing, or it cannot be read.
    """
    source = Path(path)
    if not source.exists():
        raise ValueError(f"there is no file or folder {path!r}; correct the path")
    form = detect_format(source) if name is None else named_format(name)
    sets = form.read(source)
    # As in training, so that all commands say the same of a set.
    found = {split: without_crowded(sets[split]) for split in sorted(sets, key=_split_order)}
    for held in found.values():
        held.problems.update(doubts_of(held))
    return form, found


def _split_order(split: str) -> tuple[int, str]:
    known = ("train", "val", "test")
    return (known.index(split) if split in known else len(known)), split


def write_whole(
    writer: Format,
    sets: Mapping[str, AnnotationSet],
    place: Path,
    problems: dict[str, Problems],
    *,
    proven: bool = False,
) -> None:
    """Write a folder that is there as a whole or not at all.

    Args:
        writer: The format.
        sets: The sets by split.
        place: The folder.
        problems: What was wrong in each split, which is written beside them.
        proven: Whether the folder must read back as `sets`.

    Raises:
        ValueError: It does not.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as name:
        folder = Path(name) / "set"
        writer.write(sets, folder)
        if proven:
            refuse_other(writer, sets, folder)
        if problems:
            kinds = [(s, k, found) for s, held in problems.items() for k, found in held.items()]
            quarantine: dict[str, dict[str, Problems]] = {}
            for split, kind, found in kinds:
                what = quarantine.setdefault("changed" if kind in CHANGES else "left out", {})
                what.setdefault(split, {})[kind] = found
            (folder / QUARANTINE).write_text(json.dumps(quarantine, indent=1) + "\n")
        folder.rename(place)
