"""JSON files that are one list of objects, of any size."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glip_pl.data.formats.common.json_pieces import JsonList
from glip_pl.data.formats.common.json_walk import open_list


@dataclass(frozen=True)
class ListOfObjects:
    """The entries of a list; what is no object among them is an empty one."""

    entries: JsonList

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (entry if isinstance(entry, dict) else {} for entry in self.entries)


def list_of_objects(file: Path) -> ListOfObjects:
    """Find the entries of a JSON file that holds a list; each walk decodes them anew.

    Raises:
        ValueError: It cannot be read, or holds something else.
    """
    try:
        entries = open_list(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(file)!r}: {error}; download or export it again"
        ) from error
    if entries is None:
        raise ValueError(f"{str(file)!r} holds no list; name another file, or another format")
    return ListOfObjects(entries)
