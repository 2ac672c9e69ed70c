"""Captions to prompts that fit the text encoder: cut between sentences, never inside a phrase."""

import re
from collections.abc import Sequence
from itertools import pairwise

from glip_pl.prompts.compiled import (
    Chunk,
    CompiledPrompt,
    PromptReport,
    compile_chunk,
    weigh_together,
)
from glip_pl.prompts.limits import check_readable, check_room
from glip_pl.prompts.noun_phrases import noun_phrases
from glip_pl.prompts.packing import pack
from glip_pl.prompts.prompt import Prompt, Span
from glip_pl.prompts.tokens import SPECIAL_TOKENS, Tokenizer

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


def compile_caption(
    caption: str,
    tokenizer: Tokenizer,
    *,
    tokens_positive: Sequence[Sequence[Span]] | None = None,
) -> CompiledPrompt:
    """Make prompts of a caption; one that is too long is cut between sentences.

    Ids are the positions of the phrases. Sentences without a phrase stay as context, except where
    they would make a chunk of their own.

    Args:
        caption: Any text.
        tokenizer: Counts tokens and says how many there may be.
        tokens_positive: The character spans of each phrase; by default those of `noun_phrases`.

    Raises:
        ValueError: The caption has no phrase, or a phrase no token, or a sentence has more tokens
            than the encoder reads.
    """
    if tokens_positive is None:
        tokens_positive = noun_phrases(caption)
    whole = Prompt(caption, tuple(tuple((a, b) for a, b in spans) for spans in tokens_positive))
    if not whole.phrases:
        raise ValueError(
            f"the caption {caption!r} has no phrase to look for; name things in it, or give their "
            "character spans as tokens_positive"
        )
    check_readable(whole.phrases, whole.phrases, tokenizer)
    chunks = _cut(whole, tokenizer)
    unspellable = tokenizer.unspellable(whole.phrases)
    report = PromptReport(
        names=whole.phrases,
        phrases=whole.phrases,
        token_counts=tuple(chunk.num_tokens for chunk in chunks),
        unspellable=tuple(i for i, bad in enumerate(unspellable) if bad),
    )
    return CompiledPrompt(whole.phrases, chunks, report)


def _cut(whole: Prompt, tokenizer: Tokenizer) -> tuple[Chunk, ...]:
    """Cut a caption into chunks that fit, between sentences and never inside a phrase."""
    text, phrases = whole.caption, whole.tokens_positive
    hulls = [(min(spans)[0], max(b for _, b in spans)) for spans in phrases]
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    inner = [at for at in ends if 0 < at < len(text) and not any(a < at < b for a, b in hulls)]
    bounds = list(pairwise([0, *dict.fromkeys(inner), len(text)]))
    room = tokenizer.max_tokens - SPECIAL_TOKENS
    if tokenizer.count([text])[0] <= room:
        bounds = [(0, len(text))]
    costs = tokenizer.count([text[a:b] for a, b in bounds])
    check_room([text[a:b] for a, b in bounds], costs, room)
    chunks = []
    for group in pack(costs, room):
        start, end = bounds[group[0]][0], bounds[group[-1]][1]
        ids = tuple(k for k, (a, b) in enumerate(hulls) if start <= a and b <= end)
        if ids:
            moved = Prompt(text, tuple(phrases[k] for k in ids)).shifted(-start)
            chunks.append(compile_chunk(Prompt(text[start:end], moved), ids, tokenizer))
    return weigh_together(chunks)
