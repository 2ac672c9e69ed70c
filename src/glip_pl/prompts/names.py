"""Names of things: as data sets write them, as users type them, as prompts spell them."""

import re
from collections.abc import Sequence

# Spaces of no width, marks of direction and hyphens that are not shown; text encoders skip them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# Two more join or part letters in some scripts, and say nothing at either end.
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """Leave out what cannot be seen, and blanks beyond one: a name of nothing else is empty."""
    return " ".join(_INVISIBLE.sub("", text).split()).strip(_JOINERS).strip()


def clean_name(name: str) -> str:
    """Make a data set's category name readable: "flip-flop_(sandal)" becomes "flip-flop"."""
    return visible(re.sub(r"\(.*\)", "", name).replace("_", " "))


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
    full = [visible(name.replace("_", " ")) for name in names]
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


# What stands between names, also as Chinese and Japanese keyboards have it.
_MARKS = ".,;\n\u3002\u3001\uff0c\uff1b\uff0e"
# A name between double quotes keeps its dots and commas; an inch mark within a name opens none.
_QUOTED = re.compile(rf'\s*["\u201c]([^"\u201c\u201d]*)["\u201d]\s*(?=[{_MARKS}]|$)')
# What ends a name: one of the marks, but not the dot of "1.5 l".
_NAME = re.compile(rf"(?:[^{_MARKS}]|(?<=\d)[.,](?=\d))*")


def split_names(text: str) -> list[str]:
    """Read a class list as a user types it: "person. hair drier", "person, hair drier", or lines.

    Dots, commas, semicolons and line ends stand between names, unless a digit is on either side
    ("1.5 l bottle") or the name is quoted ('"St. Bernard". cat').

    Raises:
        ValueError: The text names nothing.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"the prompt {text!r} is not in UTF-8; type it, or save it, as UTF-8")
    names, place = list[str](), 0
    while place < len(text):
        quoted = _QUOTED.match(text, place)
        found = quoted or _NAME.match(text, place)
        assert found is not None  # The second one matches nothing as well.
        names.append(visible(quoted[1] if quoted else found[0]))
        place = found.end() + 1  # Past the mark that ends the name.
    names = [name for name in names if name]
    if not names:
        raise ValueError(
            f"the prompt {text!r} names nothing; type names with dots between, "
            'for example "cat. dog."'
        )
    return names
