"""Tokenizers: captions to token ids, with the characters that each token covers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from glip_pl.prompts import Prompt

SPECIAL_TOKENS = 2  # [CLS] and [SEP] frame every caption.


@dataclass(frozen=True)
class TokenBatch:
    """Tokenized captions, padded to the longest of the batch.

    Attributes:
        ids: [B, M] token ids.
        mask: Boolean [B, M], True where a token is real.
        offsets: [B, M, 2], the characters [start, end) each token covers; (0, 0) for special
            tokens.
    """

    ids: Tensor
    mask: Tensor
    offsets: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor to a device."""
        return type(self)(
            self.ids.to(device, non_blocking=non_blocking),
            self.mask.to(device, non_blocking=non_blocking),
            self.offsets.to(device, non_blocking=non_blocking),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put tokenized captions of the same images one after the other, M = the sum of theirs."""
        return cls(
            torch.cat([part.ids for part in parts], 1),
            torch.cat([part.mask for part in parts], 1),
            torch.cat([part.offsets for part in parts], 1),
        )

    def select(self, columns: slice) -> Self:
        """Keep some of the M tokens of every caption."""
        return type(self)(self.ids[:, columns], self.mask[:, columns], self.offsets[:, columns])


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
