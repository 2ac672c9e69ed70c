"""What is odd about a set as a whole, though no box of it is wrong: nothing to learn is left.

`checks` looks at one box; here all of a set are looked at, as every format has read them.
"""

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.records import AnnotationSet


def doubts_of(found: AnnotationSet) -> Problems:
    """Find what makes the boxes of a set useless all at once, under a kind of its own each."""
    annotations = [a for record in found.records for a in record.annotations]
    if not annotations:
        return {}
    doubts: Problems = {}
    if all(annotation.crowd for annotation in annotations):
        doubts[checks.ALL_CROWDS] = [f"{len(annotations)} boxes"]
    longest = max(max(a.box[2] - a.box[0], a.box[3] - a.box[1]) for a in annotations)
    if longest <= 1:
        doubts[checks.ALL_TINY] = [
            f"{len(annotations)} boxes, the longest side of all has {longest:.3g} pixels"
        ]
    return doubts


def refuse_if_nothing_left(found: AnnotationSet, where: str) -> None:
    """Refuse a set that had boxes and has none that can be used.

    Args:
        found: The set, as read.
        where: What it was read from, for the message.

    Raises:
        ValueError: Every box was left out.
    """
    lost = {kind: told for kind, told in found.problems.items() if kind in checks.OF_A_BOX}
    if lost and not any(record.annotations for record in found.records):
        told = "; ".join(f"{len(names)} x {kind} ({names[0]})" for kind, names in lost.items())
        raise ValueError(
            f"every box of {where!r} is left out, so that nothing can be learned from it: {told}; "
            "correct the annotations (glip data check tells more)"
        )
