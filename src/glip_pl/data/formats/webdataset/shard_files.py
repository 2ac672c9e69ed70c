"""The shards of a folder: which there are, of which split, and what ``info.json`` says of them."""

import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from glip_pl.data.formats.common.json_keys import read_json
from glip_pl.data.formats.common.records import AnnotationSet, Record
from glip_pl.data.formats.common.values import WRONG

INFO = "info.json"

_NUMBER = re.compile(r"[-_]?\d+$")


@dataclass(frozen=True)
class Shards:
    """The shards of one split, before any of them is read.

    Attributes:
        files: The tar files.
        common: What all records share; it has none.
        count: How many records they have.
    """

    files: list[Path]
    common: AnnotationSet
    count: int

    def with_records(self, records: list[Record]) -> AnnotationSet:
        """Join records with what all share."""
        return replace(self.common, records=records)


def open_shards(path: Path, split: str | None) -> Shards:
    """Find the shards of a split without reading them.

    Args:
        path: The folder.
        split: Name of the split, where there are several.

    Raises:
        ValueError: There are no shards, it is not clear which are meant, or `info.json` is missing.
    """
    splits = splits_of(path)
    info = read_info(path)
    if split is None and len(splits) == 1:
        (split,) = splits
    if split not in splits or split not in info:
        known = ", ".join(name for name in splits if name in info) or "no shards"
        raise ValueError(
            f"{str(path)!r} has {known} that {INFO} describes, and {split!r} was asked for; "
            "correct `annotations` and `split`, or write the shards by glip data convert"
        )
    names, frequency, count = info[split]
    return Shards(splits[split], AnnotationSet(path, [], names, frequency), count)


def shards_in(path: Path) -> list[Path]:
    """Return a tar file, or those of a folder."""
    if path.is_file():
        return [path] if path.suffix == ".tar" and tarfile.is_tarfile(path) else []
    return sorted(path.glob("*.tar"))


def splits_of(path: Path) -> dict[str, list[Path]]:
    """Sort shards by the split that their names start with; a lone file is "all"."""
    splits: dict[str, list[Path]] = {}
    for shard in shards_in(path):
        split = _NUMBER.sub("", shard.stem) if path.is_dir() else ""
        splits.setdefault(split or "all", []).append(shard)
    return splits


def read_info(root: Path) -> dict[str, tuple[dict[int, str], dict[int, str], int]]:
    """Read the names and frequencies of the categories of each split, and count its records."""
    file = root / INFO
    if not file.is_file():
        return {}
    try:
        return {
            split: (
                _by_number(held["names"]),
                _by_number(held["frequency"]),
                int(held.get("records", 0)),
            )
            for split, held in read_json(file.read_bytes()).items()
        }
    except WRONG as error:
        raise ValueError(f"cannot read {str(file)!r} ({error!r}); write the shards anew") from error


def _by_number(texts: Mapping[str, str]) -> dict[int, str]:
    return {int(number): str(text) for number, text in texts.items()}
