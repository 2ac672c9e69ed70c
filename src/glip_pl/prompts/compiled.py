"""What the prompt compiler gives: prompts that fit, and a report on the names."""

from __future__ import annotations  # Chunks of an exported model hold NumPy's arrays.

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glip_pl.prompts.prompt import Prompt
from glip_pl.prompts.spans import positive_map
from glip_pl.prompts.tokens import TokenBatch, Tokenizer
from glip_pl.prompts.weights import count_phrases, token_weights

if TYPE_CHECKING:
    from torch import Tensor

_EXAMPLES = 3

Ids = tuple[int, ...]


# Tensors have no single truth value, so chunks are equal only where they are the same.
@dataclass(frozen=True, eq=False)
class Chunk:
    """A prompt that the text encoder can read at once, tokenized, as a part of a vocabulary.

    Attributes:
        prompt: The caption of this part.
        phrase_ids: Which of the names each phrase of the prompt is.
        tokens: The caption as tokens, a batch of one.
        positive_map: Boolean [K, M], True where phrase k of the prompt covers token m.
        weights: [K, M], how much token m counts for phrase k; see `token_weights`.
    """

    prompt: Prompt
    phrase_ids: Ids
    tokens: TokenBatch
    positive_map: Tensor
    weights: Tensor

    @property
    def num_tokens(self) -> int:
        """How many tokens the caption has, special tokens included."""
        return int(self.tokens.mask.sum())


def compile_chunk(prompt: Prompt, phrase_ids: Sequence[int], tokenizer: Tokenizer) -> Chunk:
    """Tokenize a prompt and map its phrases, once for all images that are asked.

    Raises:
        ValueError: The caption has more tokens than the encoder reads, or a phrase has none.
    """
    tokens = tokenizer([prompt])
    mapped = positive_map(tokens.offsets[0], prompt.tokens_positive)
    ids = tokens.ids[0]
    weights = token_weights(ids, mapped, count_phrases(ids, mapped))
    return Chunk(prompt, tuple(phrase_ids), tokens, mapped, weights)


def weigh_together(chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Weigh the tokens of each chunk by the phrases of all, so that packing changes no score."""
    if len(chunks) == 1:
        return tuple(chunks)
    counts = Counter[int]()
    for chunk in chunks:
        counts += count_phrases(chunk.tokens.ids[0], chunk.positive_map)
    return tuple(
        replace(chunk, weights=token_weights(chunk.tokens.ids[0], chunk.positive_map, counts))
        for chunk in chunks
    )


@dataclass(frozen=True)
class PromptReport:
    """What a user should know before relying on a compiled prompt.

    Attributes:
        names: The names as given; ids are positions in it.
        phrases: How each name is spelt in the prompt.
        token_counts: Tokens of each chunk, special tokens included.
        duplicates: Groups of ids with the same phrase. It is written once and its boxes belong to
            the first id of the group.
        collisions: Groups of ids that would read the same without the notes in their names. They
            are kept apart by the notes.
        alike: Groups of ids whose phrases differ for a reader, but have the same tokens, such as
            "Polish" and "polish" for an encoder without capitals.
        unspellable: Ids of phrases with a part that the vocabulary lacks.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    token_counts: tuple[int, ...]
    duplicates: tuple[Ids, ...] = ()
    collisions: tuple[Ids, ...] = ()
    alike: tuple[Ids, ...] = ()
    unspellable: Ids = ()

    def lines(self) -> list[str]:
        """Return it in sentences: one about the size, then one about each kind of trouble."""
        return [
            f"{_count(len(self.names), 'name')} in {_count(len(self.token_counts), 'prompt')}; "
            f"the longest has {max(self.token_counts)} tokens",
            *self.troubles(),
        ]

    def troubles(self) -> list[str]:
        """Return in a sentence each what is odd about the names."""
        found = []
        for groups, what in (
            (
                self.duplicates,
                "given more than once, written once; boxes go to the first of each",
            ),
            (self.collisions, "told apart only by their notes, which are kept"),
            (self.alike, "that read the same to the text encoder; rename all but one of each"),
        ):
            if groups:
                examples = [self._group(group) for group in groups]
                found.append(f"{_count(sum(map(len, groups)), 'name')} {what}: {_some(examples)}")
        if self.unspellable:
            examples = [repr(self.phrases[i]) for i in self.unspellable]
            found.append(
                f"{_count(len(examples), 'name')} with parts that the vocabulary lacks, which "
                f"the model cannot read: {_some(examples)}"
            )
        return found

    def _group(self, ids: Ids) -> str:
        return " and ".join(f"{self.names[i]!r} (id {i})" for i in ids)


@dataclass(frozen=True)
class CompiledPrompt:
    """Names or a caption as prompts that fit the text encoder.

    Attributes:
        names: The names as given, or the phrases of a caption; ids are positions in it.
        chunks: The prompts, in the order of the ids.
        report: What a user should know about the names.
        answers: Per name the position of the first phrase of the same thing, -1 where it is asked
            only to keep others off; empty where every name stands for itself.
    """

    names: tuple[str, ...]
    chunks: tuple[Chunk, ...]
    report: PromptReport
    answers: Ids = ()


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _some(examples: Sequence[str]) -> str:
    more = len(examples) - _EXAMPLES
    return ", ".join(examples[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
