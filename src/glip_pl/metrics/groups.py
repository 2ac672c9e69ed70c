"""Averages of AP over groups of categories: rare ones, or descriptions of what is absent."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

ABSENT = -1.0


def group_averages(
    averages: Mapping[int, Tensor], groups: Mapping[str, Collection[int]]
) -> dict[str, Tensor]:
    """Average the AP of the categories of each group.

    Args:
        averages: AP of each category id; -1 where it has no true box.
        groups: Category ids by the name of their group; groups may overlap.

    Returns:
        ``map_<group>`` of each group, 0 to 1, or -1 where none of its categories has a true box.
    """
    results = {}
    for name, ids in groups.items():
        defined = [averages[i] for i in ids if i in averages and averages[i] > ABSENT]
        results[f"map_{name}"] = torch.stack(defined).mean() if defined else torch.tensor(ABSENT)
    return results
