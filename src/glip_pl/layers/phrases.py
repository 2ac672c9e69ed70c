"""Phrases among tokens: which words belong together, and the place of each in its phrase.

A phrase is told by a number per token; tokens of one number stand side by side.
"""

import torch
from torch import Tensor


def same_phrase(numbers: Tensor, mask: Tensor) -> Tensor:
    """Return which token may see which: the real ones of its own phrase, and itself.

    Args:
        numbers: Phrase of each token, [B, M].
        mask: Boolean [B, M], True where a token is real.

    Returns:
        Boolean [B, M, M].
    """
    same = (numbers[:, :, None] == numbers[:, None]) & mask[:, None]
    itself = torch.eye(numbers.shape[1], dtype=torch.bool, device=numbers.device)
    return same | itself


def places_in_phrases(numbers: Tensor) -> Tensor:
    """Count the tokens of each phrase [B, M] from zero."""
    index = torch.arange(numbers.shape[1], device=numbers.device).expand_as(numbers)
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    first = torch.where(starts, index, 0).cummax(1).values
    return index - first
