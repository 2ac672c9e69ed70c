"""From character spans to tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glip_pl.prompts.prompt import Span


def positive_map(offsets: Tensor, tokens_positive: Sequence[Sequence[Span]]) -> Tensor:
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
    start, end = offsets.unbind(-1)
    rows = [
        torch.stack([(start < stop) & (end > begin) for begin, stop in spans]).any(0)
        for spans in tokens_positive
    ]
    mapped = torch.stack(rows) if rows else offsets.new_zeros((0, len(offsets)), dtype=torch.bool)
    mapped &= end > start
    for k, spans in enumerate(tokens_positive):
        if not mapped[k].any():
            raise ValueError(
                f"phrase {k} at characters {[tuple(span) for span in spans]} covers none of the "
                f"{len(offsets)} tokens; raise max_tokens of the text encoder or shorten the prompt"
            )
    return mapped
