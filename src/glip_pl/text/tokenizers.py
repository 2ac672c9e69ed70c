"""The two tokenizers: word pieces for language, and whole names for a closed set."""

import os
from collections.abc import Sequence
from sys import maxsize

import torch
from transformers import PreTrainedTokenizerBase

from glip_pl.prompts import Prompt
from glip_pl.prompts.tokens import TokenBatch

# Data loaders fork; the tokenizer's own threads would then warn, or hang.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class WordPieceTokenizer:
    """Captions to word pieces, with [CLS] before and [SEP] behind.

    Args:
        tokenizer: A fast tokenizer of transformers.
        max_tokens: Longest caption in tokens, special tokens included.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        """Tokenize prompts, padded to the longest of them.

        Raises:
            ValueError: A caption is longer than `max_tokens`; nothing is truncated.
        """
        encoded = self._tokenizer(
            [prompt.caption for prompt in prompts],
            padding=True,
            return_offsets_mapping=True,
            return_tensors="pt",
            verbose=False,
        )
        mask = encoded["attention_mask"].bool()
        for prompt, count in zip(prompts, mask.sum(-1).tolist(), strict=True):
            if count > self.max_tokens:
                raise ValueError(
                    f"the caption {prompt.caption[:40]!r}... has {count} tokens, more than the "
                    f"{self.max_tokens} allowed; name fewer things, or raise "
                    "model.text.init_args.max_tokens"
                )
        return TokenBatch(encoded["input_ids"], mask, encoded["offset_mapping"])

    def count(self, names: Sequence[str]) -> list[int]:
        """How many tokens each name takes, special tokens not counted."""
        return [len(ids) for ids in self._ids(names)]

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        """Whether a part of each name is [UNK]."""
        return [self._tokenizer.unk_token_id in ids for ids in self._ids(names)]

    def _ids(self, names: Sequence[str]) -> list[list[int]]:
        """Look up the word pieces of each name, without special tokens."""
        if not names:
            return []
        encoded = self._tokenizer(list(names), add_special_tokens=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids


class ClassTokenizer:
    """One token per phrase: the place of the phrase in a list of names.

    Args:
        names: The names, all different.
    """

    # A learned list has no positions that could run out.
    max_tokens: int = maxsize

    def __init__(self, names: Sequence[str]) -> None:
        self._ids = {name: k for k, name in enumerate(names)}
        if len(self._ids) < len(names):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            raise ValueError(f"the names {twice} are given twice to ClassEmbedding; give each once")

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        """Look up each phrase; a token covers its phrase from the first character to the last.

        Raises:
            ValueError: A phrase is not among the names.
        """
        longest = max(len(prompt.phrases) for prompt in prompts)
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        offsets = torch.zeros(len(prompts), longest, 2, dtype=torch.long)
        mask = torch.zeros(len(prompts), longest, dtype=torch.bool)
        for b, prompt in enumerate(prompts):
            for m, (phrase, spans) in enumerate(
                zip(prompt.phrases, prompt.tokens_positive, strict=True)
            ):
                ids[b, m] = self._id(phrase)
                offsets[b, m] = torch.tensor((min(spans)[0], max(end for _, end in spans)))
                mask[b, m] = True
        return TokenBatch(ids, mask, offsets)

    def count(self, names: Sequence[str]) -> list[int]:
        """How many tokens each name takes: one."""
        return [1] * len(names)

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        """Whether each name is missing in the list."""
        return [name not in self._ids for name in names]

    def _id(self, phrase: str) -> int:
        if phrase not in self._ids:
            raise ValueError(
                f"the closed-set encoder ClassEmbedding does not know {phrase!r}, only "
                f"{list(self._ids)}; ask for one of these, or train with model.text: TinyBert or "
                "BertEncoder"
            )
        return self._ids[phrase]
