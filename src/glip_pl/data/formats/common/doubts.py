"""What is odd about a set as a whole, though no box of it is wrong: nothing to learn is left.

`checks` looks at one box; here all of a set are looked at, as every format has read them.
"""

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.records import AnnotationSet

# Boxes that are looked at before the others: most sets are cleared of all doubts by them.
_FIRST = 1 << 12


def doubts_of(found: AnnotationSet) -> Problems:
    """Find what makes the boxes of a set useless all at once, under a kind of its own each."""
    records = columns_of(found.records)
    count = int(records.box_counts.sum())
    if not count:
        return {}
    doubts: Problems = {}
    if all(crowd.all() for (crowd,) in records.box_parts("crowd", size=_FIRST)):
        doubts[checks.ALL_CROWDS] = [f"{count} boxes"]
    longest = _longest_side(records)
    if longest <= 1:
        doubts[checks.ALL_TINY] = [
            f"{count} boxes, the longest side of all has {longest:.3g} pixels"
        ]
    return doubts


def _longest_side(records: ColumnRecords) -> float:
    """Return the longest side of all boxes in pixels, or one that is longer than a pixel."""
    longest = 0.0
    for (box,) in records.box_parts("box", size=_FIRST):
        longest = max(longest, float((box[:, 2:] - box[:, :2]).max(initial=0.0)))
        if longest > 1:
            break
    return longest


def refuse_if_nothing_left(found: AnnotationSet, where: str) -> None:
    """Refuse a set that had boxes and has none that can be used.

    Args:
        found: The set, as read.
        where: What it was read from, for the message.

    Raises:
        ValueError: Every box was left out.
    """
    lost = {kind: told for kind, told in found.problems.items() if kind in checks.OF_A_BOX}
    if lost and not columns_of(found.records).box_counts.any():
        told = "; ".join(f"{len(names)} x {kind} ({names[0]})" for kind, names in lost.items())
        raise ValueError(
            f"every box of {where!r} is left out, so that nothing can be learned from it: {told}; "
            "correct the annotations (glip data check tells more)"
        )
