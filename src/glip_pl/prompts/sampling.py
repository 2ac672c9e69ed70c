"""Which names a training prompt has, and in which order."""

from __future__ import annotations  # Only a training prompt needs PyTorch.

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def training_names(
    present: Iterable[int],
    num_names: int,
    max_negatives: int,
    generator: torch.Generator | None = None,
) -> list[int]:
    """Choose and order the names of a training prompt: all present ones and sampled negatives.

    Half of the prompts get as many negatives as allowed, the others a uniform number of them, so
    that the model meets short and long prompts (GLIP's recipe for detection data, without its
    background name). The order is random: no name may be learned by its position.

    Args:
        present: Ids of the names that the image shows.
        num_names: How many names the data set has.
        max_negatives: Negatives to sample at most.
        generator: Source of randomness; torch's global one by default.

    Returns:
        Ids in prompt order; never empty when `num_names` is positive.
    """
    import torch

    positives = sorted(set(present))
    absent = torch.ones(num_names, dtype=torch.bool)
    absent[positives] = False
    pool = absent.nonzero().flatten()
    most = min(max_negatives, len(pool))
    if most and torch.rand((), generator=generator) < 0.5:
        most = int(torch.randint(1, most + 1, (), generator=generator))
    least = 0 if positives else min(1, len(pool))  # An image without boxes still needs a prompt.
    chosen = pool[torch.randperm(len(pool), generator=generator)[: max(most, least)]]
    ids = torch.cat([torch.tensor(positives, dtype=torch.long), chosen])
    shuffled: list[int] = ids[torch.randperm(len(ids), generator=generator)].tolist()
    return shuffled
