"""JSON files that are one list of objects."""

import json
from pathlib import Path
from typing import Any

from glip_pl.data.formats.common.text_files import read_text
from glip_pl.data.formats.common.values import objects


def list_of_objects(file: Path) -> list[dict[str, Any]]:
    """Read a JSON file that holds a list; what is no object in it becomes an empty one.

    Raises:
        ValueError: It cannot be read, or holds something else.
    """
    try:
        held = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot read the annotation file {str(file)!r}: {error}; download or export it again"
        ) from error
    if not isinstance(held, list):
        raise ValueError(f"{str(file)!r} holds no list; name another file, or another format")
    return objects(held)
