"""What a user should know before a model answers: names that it never saw."""

from collections.abc import Sequence


def hints(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return which names of a prompt are foreign to a model, in one line or none.

    Args:
        names: Those of the prompt.
        known: Those of the training data; empty where they are not known.
    """
    foreign = foreign_names(names, known)
    if not foreign:
        return []
    asked = f"{', '.join(map(repr, foreign[:5]))} {'is' if len(foreign) == 1 else 'are'}"
    shown = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
    return [f"this model was trained on {len(known)} names; {asked} none of them: {shown}"]


def foreign_names(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names that share no word with any known one; none where nothing is known."""
    words = {word for name in known for word in name.lower().split()}
    return [
        name for name in names if words and not words & set(name.lower().replace(",", " ").split())
    ]
