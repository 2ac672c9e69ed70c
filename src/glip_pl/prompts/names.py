"""Names of things: as data sets write them, as users type them, as prompts spell them."""

import re
from collections.abc import Sequence


def clean_name(name: str) -> str:
    """Make a data set's category name readable: "flip-flop_(sandal)" becomes "flip-flop"."""
    without_note = re.sub(r"\(.*\)", "", name).replace("_", " ")
    return " ".join(without_note.split())


def readable_names(names: Sequence[str]) -> list[str]:
    """Make a list of names readable without making two of them equal.

    A name with underscores is cleaned like `clean_name` does, but keeps its note where another name
    would read the same without: "bow_(weapon)" beside "bow_(decorative_ribbons)" becomes
    "bow (weapon)", alone it becomes "bow". A name without underscores is readable already and keeps
    its words, brackets included; so readable names stay as they are in any selection of them.

    Returns:
        One name per name. Equal ones read the same even with their notes, such as "hair_drier"
        and "hair drier"; a blank one has no word.
    """
    full = [" ".join(name.replace("_", " ").split()) for name in names]
    short = [
        (clean_name(name) or whole) if "_" in name else whole
        for name, whole in zip(names, full, strict=True)
    ]
    written: dict[str, set[str]] = {}
    for brief, whole in zip(short, full, strict=True):
        written.setdefault(brief, set()).add(whole)
    return [
        whole if len(written[brief]) > 1 else brief
        for brief, whole in zip(short, full, strict=True)
    ]


def split_names(text: str) -> list[str]:
    """Read a class list as a user types it: "person. hair drier." or "person, hair drier".

    Raises:
        ValueError: The text names nothing.
    """
    separator = r"\." if "." in text else ","
    names = [part.strip() for part in re.split(separator, text) if part.strip()]
    if not names:
        raise ValueError(
            f"the prompt {text!r} names nothing; type names with dots between, "
            'for example "cat. dog."'
        )
    return names
