"""The two tokenizers: word pieces for language, and whole names for a closed set."""

import os
from collections.abc import Sequence
from pathlib import Path
from sys import maxsize
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from glip_pl.prompts import Prompt
from glip_pl.prompts.tokens import SPECIAL_TOKENS, TokenBatch
from glip_pl.text.word_pieces import write_tokenizer

# Data loaders fork; the tokenizer's own threads would then warn, or hang.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# What ends a phrase, where it is no part of one ("St. Bernard"); [CLS] and [SEP] do, too.
DELIMITERS = (".", "?")


class WordPieceTokenizer:
    """Captions to word pieces, with [CLS] before and [SEP] behind.

    Args:
        tokenizer: Word pieces, which frame a caption by [CLS] and [SEP].
        max_tokens: Longest caption in tokens, special tokens included.
    """

    mark_tokens = 0  # What this writes behind a caption, beside the special tokens.

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._pad = tokenizer.token_to_id("[PAD]") or 0
        self._unknown = tokenizer.token_to_id(self.unknown_token)
        known = [tokenizer.token_to_id(mark) for mark in DELIMITERS]
        self._delimiters = torch.tensor([k for k in known if k is not None])

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        """Tokenize prompts, padded to the longest of them.

        Raises:
            ValueError: A caption is longer than `max_tokens`; nothing is truncated.
        """
        encoded = self._tokenizer.encode_batch([prompt.caption for prompt in prompts])
        counts = [len(caption.ids) for caption in encoded]
        for prompt, count in zip(prompts, counts, strict=True):
            if count > self.max_tokens + self.mark_tokens:
                raise ValueError(
                    f"the caption {prompt.caption[:40]!r}... has {count} tokens, more than the "
                    f"{self.max_tokens + self.mark_tokens} allowed; name fewer things, or raise "
                    "model.text.init_args.max_tokens"
                )
        short = [max(counts) - count for count in counts]
        rows = list(zip(encoded, short, strict=True))
        ids = torch.tensor([caption.ids + [self._pad] * more for caption, more in rows])
        offsets = torch.tensor([caption.offsets + [(0, 0)] * more for caption, more in rows])
        mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        ends = torch.isin(ids, self._delimiters) | (offsets[..., 1] == 0)
        phrases = [_phrases(*row) for row in zip(ends, offsets, prompts, strict=True)]
        return TokenBatch(ids, mask, offsets, torch.stack(phrases))

    @property
    def unknown_token(self) -> str:
        """What stands for words that the vocabulary lacks."""
        model: Any = self._tokenizer.model
        return str(model.unk_token)

    def save(self, path: Path) -> None:
        """Write the tokenizer as one file, which the library ``tokenizers`` reads by itself."""
        self._tokenizer.save(str(path))

    def count(self, names: Sequence[str]) -> list[int]:
        """How many tokens each name takes, special tokens not counted."""
        return [len(ids) for ids in self._ids(names)]

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        """Whether a part of each name is [UNK]."""
        return [self._unknown in ids for ids in self._ids(names)]

    def write(self, folder: Path) -> None:
        """Write the vocabulary as transformers and tokenizers read it."""
        write_tokenizer(self._tokenizer, folder)

    def _ids(self, names: Sequence[str]) -> list[list[int]]:
        """Look up the word pieces of each name, without special tokens."""
        encoded = self._tokenizer.encode_batch(list(names), add_special_tokens=False)
        return [name.ids for name in encoded]


class PhraseTokenizer(WordPieceTokenizer):
    """Word pieces of captions whose last phrase ends, as every other does, with a mark.

    Without it the features of the last phrase would depend on what stands behind the caption.

    Args:
        tokenizer: Word pieces, which frame a caption by [CLS] and [SEP].
        max_tokens: Longest caption in tokens, special tokens and the last mark included.

    Raises:
        ValueError: The tokenizer lacks one of the tokens that phrases are told apart by.
    """

    mark_tokens = 1

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        # Callers leave room for the last mark.
        super().__init__(tokenizer, max_tokens - self.mark_tokens)
        needed = (*DELIMITERS, self.unknown_token)
        lacking = [mark for mark in needed if tokenizer.token_to_id(mark) is None]
        if tokenizer.num_special_tokens_to_add(is_pair=False) != SPECIAL_TOKENS:
            lacking += ["the start and the end of a caption"]
        if lacking:
            raise ValueError(
                f"the tokenizer has no token for {', '.join(lacking)}, without which phrases "
                "are not told apart; give the vocabulary of bert-base-uncased"
            )

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        """See `WordPieceTokenizer`."""
        return super().__call__([_ended(prompt) for prompt in prompts])


def _ended(prompt: Prompt) -> Prompt:
    """Write a dot behind a caption that ends with a phrase or a word."""
    end = len(prompt.caption.rstrip())
    marked = prompt.caption[:end].endswith(DELIMITERS)
    in_phrase = any(b >= end for spans in prompt.tokens_positive for _, b in spans)
    return (
        prompt if marked and not in_phrase else Prompt(f"{prompt.caption}.", prompt.tokens_positive)
    )


def _phrases(ends: Tensor, offsets: Tensor, prompt: Prompt) -> Tensor:
    """Count the phrases of a caption up; each takes the mark that ends it, [M].

    Args:
        ends: Boolean [M], True for tokens that could end a phrase.
        offsets: [M, 2], the characters of each token.
        prompt: The caption; what stands inside its phrases ends none.
    """
    spans = torch.tensor([span for phrase in prompt.tokens_positive for span in phrase])
    start, stop = offsets.T[..., None]
    if len(spans):
        inside = ((start < spans[:, 1]) & (stop > spans[:, 0])).any(-1)
        ends = ends & ~inside
    # A mark counts from the token behind it on.
    return ends.cumsum(0) - ends.long()


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
        return TokenBatch(ids, mask, offsets, torch.arange(longest).expand_as(ids))

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
