"""Prompt tuning: one learned vector for every token of one fixed prompt, and nothing else.

Official GLIP calls it ``language_prompt_v2``: the vectors are added to what the text encoder makes
of the prompt, before the fusion, and the whole model stays as it is. See GLIP, Sec. 4.5
(https://arxiv.org/abs/2112.03857).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from glip_pl.fusion import TextFeatures
from glip_pl.prompts.tokens import TokenBatch


class TunedPrompt(nn.Module):
    """Offsets of the token features of one prompt, zero at the start.

    Attributes:
        weight: [P, d_text], the offset of each token position, [CLS] and [SEP] included.
        ids: [P], the token ids of the prompt; empty where it is not known, as in official files.
        caption: Its words as UTF-8, uint8 [bytes]; state dicts hold tensors alone.
    """

    ids: Tensor
    caption: Tensor

    def __init__(self, num_positions: int, d_text: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_positions, d_text))
        self.register_buffer("ids", torch.zeros(0, dtype=torch.long))
        self.register_buffer("caption", torch.zeros(0, dtype=torch.uint8))

    @classmethod
    def of_prompt(cls, ids: Tensor, caption: str, d_text: int) -> Self:
        """Start from zero offsets for a prompt with these token ids, [P]."""
        prompt = cls(len(ids), d_text)
        prompt.remember(ids, caption)
        return prompt

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], prefix: str) -> Self:
        """Make room for the offsets that a state dict has under a prefix."""
        prompt = cls(*state[f"{prefix}weight"].shape)
        for name in ("ids", "caption"):
            if f"{prefix}{name}" in state:
                prompt.register_buffer(name, torch.zeros_like(state[f"{prefix}{name}"]))
        return prompt

    @property
    def words(self) -> str:
        """The prompt; empty where it is not known."""
        return bytes(self.caption.tolist()).decode()

    def remember(self, ids: Tensor, caption: str) -> None:
        """Take this prompt for the one and only.

        Raises:
            ValueError: The offsets belong to another prompt already, or are too few.
        """
        if len(self.ids) and not self.ids.equal(ids.to(self.ids.device)):
            raise ValueError(self._refusal(repr(caption)))
        if len(ids) > len(self.weight):
            raise ValueError(
                f"the prompt {caption!r} has {len(ids)} tokens, but these weights have offsets for "
                f"{len(self.weight)}; shorten it, or start from weights without a tuned prompt"
            )
        device = self.weight.device
        self.register_buffer("ids", ids.to(device, torch.long))
        self.register_buffer(
            "caption", torch.tensor(list(caption.encode()), dtype=torch.uint8, device=device)
        )

    def forward(self, features: TextFeatures, tokens: TokenBatch) -> TextFeatures:
        """Add the offsets to the features of real tokens, [B, M, d_text].

        Raises:
            ValueError: The tokens are of another prompt.
        """
        length = tokens.ids.shape[1]
        if len(self.ids):
            self._check(tokens)
        elif length > len(self.weight):
            raise ValueError(self._refusal(f"one of {length} tokens"))
        offset = self.weight[:length] * features.mask[:, : len(self.weight), None]
        # A batch may be padded beyond the prompt.
        missing = features.hidden.shape[1] - offset.shape[1]
        offset = nn.functional.pad(offset, (0, 0, 0, missing))
        return replace(features, hidden=features.hidden + offset.to(features.hidden.dtype))

    def _check(self, tokens: TokenBatch) -> None:
        count, length = len(self.ids), tokens.ids.shape[1]
        shown = tokens.ids[:, :count].masked_fill(~tokens.mask[:, :count], -1)
        longer = bool(tokens.mask[:, count:].any())
        if length < count or longer or not bool((shown == self.ids).all()):
            raise ValueError(self._refusal("another one"))

    def _refusal(self, other: str) -> str:
        known = f"the prompt {self.words!r}" if len(self.ids) else "one prompt"
        return (
            f"these weights were tuned for {known} and answer no other, but {other} was given; ask "
            "exactly what they were tuned for, or use the weights that they were tuned from"
        )
