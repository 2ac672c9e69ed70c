"""Packing: which consecutive pieces of text share one prompt."""

from collections.abc import Sequence
from itertools import pairwise


def pack(costs: Sequence[int], room: int, most: int | None = None) -> list[range]:
    """Cut a list of pieces into the fewest groups that fit, in order.

    Without `most` the groups are balanced: of all ways to cut into the fewest groups, one whose
    largest group is smallest, since prompts of one batch are padded to the longest. With `most`
    each group is filled before the next begins.

    Args:
        costs: Tokens of each piece; none is above `room`.
        room: Tokens that a group may have.
        most: Pieces that a group may have.

    Returns:
        Consecutive ranges of positions that cover all pieces.
    """
    groups = _fill(costs, room, most)
    if most is not None:
        return groups
    low, high = max(costs), room
    while low < high:
        middle = (low + high) // 2
        if len(_fill(costs, middle, None)) > len(groups):
            low = middle + 1
        else:
            high = middle
    return _fill(costs, high, None)


def _fill(costs: Sequence[int], room: int, most: int | None) -> list[range]:
    """Fill each group with as many pieces as fit."""
    starts, left = [0], room
    for k, cost in enumerate(costs):
        if cost > left or (most is not None and k - starts[-1] == most):
            starts.append(k)
            left = room
        left -= cost
    return [range(start, end) for start, end in pairwise([*starts, len(costs)])]
