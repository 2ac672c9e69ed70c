"""Tokenizers: captions to token ids, with the characters that each token covers."""

from __future__ import annotations  # Exported models tokenize without PyTorch.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from glip_pl.prompts.prompt import Prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SPECIAL_TOKENS = 2  # [CLS] and [SEP] frame every caption.


@dataclass(frozen=True)
class TokenBatch:
    """Tokenized captions, padded to the longest of the batch.

    Attributes:
        ids: [B, M] token ids.
        mask: Boolean [B, M], True where a token is real.
        offsets: [B, M, 2], the characters [start, end) each token covers; (0, 0) for special
            tokens.
        phrases: [B, M], a number per token that tokens of one phrase share, and no others beside
            them; None from a tokenizer that does not tell.
    """

    ids: Tensor
    mask: Tensor
    offsets: Tensor
    phrases: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device."""
        return self._each(lambda x: x.to(device, non_blocking=non_blocking))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put tokenized captions of the same images one after the other, M = the sum of theirs."""
        import torch

        phrases = [part.phrases for part in parts if part.phrases is not None]
        return cls(
            torch.cat([part.ids for part in parts], 1),
            torch.cat([part.mask for part in parts], 1),
            torch.cat([part.offsets for part in parts], 1),
            torch.cat(phrases, 1) if len(phrases) == len(parts) else None,
        )

    @classmethod
    def stack(cls, captions: Sequence[Self]) -> Self:
        """Put tokenized captions one below the other, padded to the longest."""
        import torch
        import torch.nn.functional as F

        longest = max(caption.ids.shape[1] for caption in captions)

        def below(parts: Sequence[Tensor], value: int = 0) -> Tensor:
            short = [longest - part.shape[1] for part in parts]
            sides = [(0, 0) * (part.ndim - 2) for part in parts]
            return torch.cat(
                [
                    F.pad(part, (*side, 0, more), value=value)
                    for part, side, more in zip(parts, sides, short, strict=True)
                ]
            )

        phrases = [caption.phrases for caption in captions if caption.phrases is not None]
        return cls(
            below([caption.ids for caption in captions]),
            below([caption.mask for caption in captions]),
            below([caption.offsets for caption in captions]),
            # Padding is of no phrase.
            below(phrases, -1) if len(phrases) == len(captions) else None,
        )

    def select(self, columns: slice) -> Self:
        """Keep some of the M tokens of every caption."""
        return self._each(lambda x: x[:, columns])

    def pick(self, rows: Sequence[int]) -> Self:
        """Keep some of the B captions."""
        return self._each(lambda x: x[list(rows)])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        phrases = None if self.phrases is None else change(self.phrases)
        return type(self)(change(self.ids), change(self.mask), change(self.offsets), phrases)


class Tokenizer(Protocol):
    """What the data module asks of a text encoder's tokenizer.

    Attributes:
        max_tokens: Longest caption in tokens, special tokens included.
    """

    max_tokens: int

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        """Tokenize prompts.

        Raises:
            ValueError: A caption is longer than `max_tokens`; nothing is truncated.
        """

    def count(self, names: Sequence[str]) -> list[int]:
        """How many tokens each name takes, special tokens not counted."""

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        """Whether the vocabulary lacks a part of each name, which the encoder then cannot read."""
