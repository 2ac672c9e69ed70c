"""From character spans to tokens."""

from __future__ import annotations  # PyTorch is imported where its tensors are asked for.

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from glip_pl.prompts.prompt import Span

if TYPE_CHECKING:
    from torch import Tensor


@overload
def positive_map(offsets: Tensor, tokens_positive: Sequence[Sequence[Span]]) -> Tensor: ...


@overload
def positive_map(offsets: np.ndarray, tokens_positive: Sequence[Sequence[Span]]) -> np.ndarray: ...


def positive_map(
    offsets: Tensor | np.ndarray, tokens_positive: Sequence[Sequence[Span]]
) -> Tensor | np.ndarray:
    """Mark the tokens that each phrase covers: the target T of the grounding loss.

    A token belongs to a phrase when their character ranges overlap, so every sub-word of a
    positive phrase is positive ("##cycle" with "bi"), as GLIP asks in Sec. 3.1.

    Args:
        offsets: Character range [start, end) of every token, [M, 2]. Special tokens and padding
            have the empty range (0, 0) and are never positive.
        tokens_positive: Per phrase, its character spans [start, end) in the caption.

    Returns:
        Boolean map [K, M], True where phrase k covers token m.

    Raises:
        ValueError: A phrase covers no token, which means that the caption was truncated.
    """
    tokens = [(start, end) for start, end in offsets.tolist()]
    mapped = [
        [
            end > start and any(start < stop and begin < end for begin, stop in spans)
            for start, end in tokens
        ]
        for spans in tokens_positive
    ]
    for k, spans in enumerate(tokens_positive):
        if not any(mapped[k]):
            raise ValueError(
                f"phrase {k} at characters {[tuple(span) for span in spans]} covers none of the "
                f"{len(offsets)} tokens; raise max_tokens of the text encoder or shorten the prompt"
            )
    shape = (len(mapped), len(tokens))
    if isinstance(offsets, np.ndarray):
        return np.array(mapped, bool).reshape(shape)
    import torch

    return torch.tensor(mapped, dtype=torch.bool, device=offsets.device).view(shape)
