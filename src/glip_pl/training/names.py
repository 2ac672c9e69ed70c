"""The names that a run learns: the same from its first step to its last."""

from collections.abc import Sequence


def refuse_other_names(before: Sequence[str], now: Sequence[str]) -> None:
    """Refuse to resume a run on data that name other things than it has learned so far.

    Args:
        before: The names of the training data that the checkpoint knows.
        now: Those of today's training data. The order of either is of no matter.

    Raises:
        ValueError: They are not the same.
    """
    gone, added = _without(before, now), _without(now, before)
    if gone or added:
        changes = [f"{_listed(gone)} gone"] * bool(gone) + [f"{_listed(added)} new"] * bool(added)
        raise ValueError(
            f"the checkpoint was trained on other names than data.train has: {', '.join(changes)}; "
            "start a new run with its weights by --weights=PATH in place of --ckpt_path, or go on "
            "all the same by --new=[vocabulary]"
        )


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _listed(names: Sequence[str]) -> str:
    """Return the first few names and how many there are."""
    first = ", ".join(repr(name) for name in names[:3])
    return f"{first} ({len(names)} in all)" if len(names) > 3 else first
