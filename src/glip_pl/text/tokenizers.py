"""The two tokenizers: word pieces for language, and whole names for a closed set."""

import os
from collections.abc import Sequence
from pathlib import Path
from sys import maxsize

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from glip_pl.prompts import Prompt
from glip_pl.prompts.tokens import TokenBatch

# Data loaders fork; the tokenizer's own threads would then warn, or hang.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# What ends a phrase, where it is no part of one ("St. Bernard"); [CLS] and [SEP] do, too.
DELIMITERS = (".", "?")


class WordPieceTokenizer:
    """Captions to word pieces, with [CLS] before and [SEP] behind.

    Args:
        tokenizer: A fast tokenizer of transformers.
        max_tokens: Longest caption in tokens, special tokens included.
    """

    mark_tokens = 0  # What this writes behind a caption, beside the special tokens.

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens
        known = tokenizer.get_vocab()
        self._delimiters = torch.tensor([known[mark] for mark in DELIMITERS if mark in known])

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
            if count > self.max_tokens + self.mark_tokens:
                raise ValueError(
                    f"the caption {prompt.caption[:40]!r}... has {count} tokens, more than the "
                    f"{self.max_tokens + self.mark_tokens} allowed; name fewer things, or raise "
                    "model.text.init_args.max_tokens"
                )
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        ends = torch.isin(ids, self._delimiters) | (offsets[..., 1] == 0)
        phrases = [_phrases(*row) for row in zip(ends, offsets, prompts, strict=True)]
        return TokenBatch(ids, mask, offsets, torch.stack(phrases))

    @property
    def unknown_token(self) -> str:
        """What stands for words that the vocabulary lacks."""
        return str(self._tokenizer.unk_token)

    def save(self, path: Path) -> None:
        """Write the tokenizer as one file, which the library ``tokenizers`` reads by itself."""
        self._tokenizer.backend_tokenizer.save(str(path))

    def count(self, names: Sequence[str]) -> list[int]:
        """How many tokens each name takes, special tokens not counted."""
        return [len(ids) for ids in self._ids(names)]

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        """Whether a part of each name is [UNK]."""
        return [self._tokenizer.unk_token_id in ids for ids in self._ids(names)]

    def write(self, folder: Path) -> None:
        """Write the vocabulary as transformers and tokenizers read it."""
        self._tokenizer.save_pretrained(folder)

    def _ids(self, names: Sequence[str]) -> list[list[int]]:
        """Look up the word pieces of each name, without special tokens."""
        if not names:
            return []
        encoded = self._tokenizer(list(names), add_special_tokens=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids


class PhraseTokenizer(WordPieceTokenizer):
    """Word pieces of captions whose last phrase ends, as every other does, with a mark.

    Without it the features of the last phrase would depend on what stands behind the caption.

    Args:
        tokenizer: A fast tokenizer of transformers.
        max_tokens: Longest caption in tokens, special tokens and the last mark included.

    Raises:
        ValueError: The tokenizer lacks one of the tokens that phrases are told apart by.
    """

    mark_tokens = 1

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        # Callers leave room for the last mark.
        super().__init__(tokenizer, max_tokens - self.mark_tokens)
        needed = [*DELIMITERS, tokenizer.cls_token, tokenizer.sep_token]
        lacking = [mark for mark in needed if mark not in tokenizer.get_vocab()]
        if lacking:
            raise ValueError(
                f"the tokenizer has no token for {', '.join(map(str, lacking))}, by which phrases "
                "are told apart; give the vocabulary of bert-base-uncased"
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
