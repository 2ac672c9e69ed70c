"""Categories of a COCO file: their ids, and names that read well in a prompt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glip_pl.data.formats.common.checks import category_name, read_name
from glip_pl.prompts.names import visible


def read_categories(
    entries: Sequence[dict[str, Any]], renamed: Mapping[int, str], source: Path
) -> tuple[list[int], list[str]]:
    """Read ids and cleaned names, in the order of the ids.

    A name keeps its note in brackets where another would read the same without; official GLIP
    drops it there, too, and so asks for both in the same words.

    Args:
        entries: The categories of a COCO document.
        renamed: Names that take the place of the file's, by id.
        source: The file, for messages.

    Raises:
        ValueError: An id or name is missing, used twice or blank, or an id of `renamed` is unknown.
    """
    entries = _renamed(entries, renamed, source)
    try:
        pairs = sorted((int(entry["id"]), category_name(entry)) for entry in entries)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"a category of {str(source)!r} has a missing or wrong value ({error!r}); every "
            "category needs a number as id and a name"
        ) from error
    if not pairs:
        raise ValueError(f"{str(source)!r} names no categories; a detector has nothing to look for")
    written: dict[str, str] = {}
    uses = Counter(read_name(name) for _, name in pairs)
    for category_id, name in pairs:
        cleaned = read_name(name)
        if uses[cleaned] > 1:  # LVIS has "bow_(weapon)" and "bow_(decorative_ribbons)".
            cleaned = visible(name.replace("_", " "))
        if not cleaned:
            raise ValueError(
                f"category {category_id} of {str(source)!r} is named {name!r}; name it"
            )
        if cleaned in written:
            raise ValueError(
                f"the categories {written[cleaned]!r} and {name!r} of {str(source)!r} both read "
                f"{cleaned!r} in a prompt; rename one of them"
            )
        written[cleaned] = name
    ids = [category_id for category_id, _ in pairs]
    repeated = [i for i, count in Counter(ids).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{str(source)!r} uses the category id {min(repeated)} twice; renumber one"
        )
    return ids, list(written)


def _renamed(
    entries: Sequence[dict[str, Any]], renamed: Mapping[int, str], source: Path
) -> list[dict[str, Any]]:
    """Put other names into entries of categories."""
    unknown = set(renamed) - {entry.get("id") for entry in entries}
    if unknown:
        raise ValueError(
            f"`renamed` has a name for the category id {min(unknown)}, which {str(source)!r} does "
            "not use; give ids of its categories"
        )
    return [
        {**entry, "name": renamed[entry["id"]]} if entry.get("id") in renamed else entry
        for entry in entries
    ]
