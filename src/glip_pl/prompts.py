"""Prompts: category names joined into one caption, and the map from phrases to tokens.

A detector that grounds has no class index. Its "classes" are phrases inside a prompt such as
``"person. bicycle. hair drier"``, and a box is labelled by *which tokens* it should align with.
This module owns that bookkeeping and nothing else: characters here, a Boolean map out.

Words used: a *phrase* is one category name or noun phrase; ``tokens_positive`` are its character
spans in the caption (the name MDETR's annotations use); a *positive map* is the same fact counted
in tokens. See GLIP, Sec. 3.1 (https://arxiv.org/abs/2112.03857).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Span = tuple[int, int]


@dataclass(frozen=True)
class Prompt:
    """A caption and the character spans of its phrases.

    Attributes:
        caption: The text given to the encoder.
        tokens_positive: Per phrase, its spans [start, end) in the caption; a phrase may have
            several.
    """

    caption: str
    tokens_positive: tuple[tuple[Span, ...], ...]

    def __post_init__(self) -> None:
        for k, spans in enumerate(self.tokens_positive):
            if not spans or any(not 0 <= a < b <= len(self.caption) for a, b in spans):
                raise ValueError(
                    f"phrase {k} has the character spans {list(spans)}, but the caption "
                    f"{self.caption!r} has {len(self.caption)} characters; every phrase needs "
                    "spans [start, end) inside its caption: correct its tokens_positive"
                )

    @property
    def phrases(self) -> tuple[str, ...]:
        """The words of each phrase; the parts of a split phrase are joined by a space."""
        return tuple(" ".join(self.caption[a:b] for a, b in s) for s in self.tokens_positive)


@dataclass(frozen=True)
class PromptTemplate:
    """How names become a caption: ``prefix + name + separator + name + ... + suffix``.

    The default gives "person. bicycle. hair drier"; ``PromptTemplate("Detect: ", ", ")`` gives
    "Detect: person, bicycle, hair drier".
    """

    prefix: str = ""
    separator: str = ". "
    suffix: str = ""

    def join(self, names: Sequence[str]) -> Prompt:
        """Join names into a prompt; phrase k is name k, at exactly the place where it was written.

        Raises:
            ValueError: No name is given, or one is blank.
        """
        if not names:
            raise ValueError("the prompt is empty; name at least one thing to look for")
        caption, spans = self.prefix, []
        for k, name in enumerate(names):
            if not name.strip():
                raise ValueError(f"name {k} of the prompt is blank; remove it or name the thing")
            caption += self.separator if k else ""
            spans.append(((len(caption), len(caption) + len(name)),))
            caption += name
        return Prompt(caption + self.suffix, tuple(spans))


def clean_name(name: str) -> str:
    """Make a data set's category name readable: "flip-flop_(sandal)" becomes "flip-flop"."""
    without_note = re.sub(r"\(.*\)", "", name).replace("_", " ")
    return " ".join(without_note.split())


def surround(prompt: Prompt, before: Sequence[str], after: Sequence[str]) -> Prompt:
    """Put other captions before and after that of a prompt; its phrases stay the only ones."""
    start = "".join(_sentence(caption) for caption in before)
    caption = start + _sentence(prompt.caption) + "".join(_sentence(caption) for caption in after)
    spans = tuple(
        tuple((a + len(start), b + len(start)) for a, b in phrase)
        for phrase in prompt.tokens_positive
    )
    return Prompt(caption, spans)


def _sentence(caption: str) -> str:
    return caption + (" " if caption.endswith(".") else ". ")


def split_names(text: str) -> list[str]:
    """Read a class list as a user types it: "person. hair drier." or "person, hair drier".

    Raises:
        ValueError: The text names nothing.
    """
    separator = r"\." if "." in text else ","
    names = [part.strip() for part in re.split(separator, text) if part.strip()]
    if not names:
        raise ValueError(
            f"the prompt {text!r} names nothing; type names with dots between, "
            'for example "cat. dog."'
        )
    return names


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


_DIRECTION = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_OPPOSITE = {"left": "right", "right": "left"}


def mirror(prompt: Prompt) -> Prompt:
    """Swap "left" and "right" in a caption whose image was flipped, and move the spans along.

    Only whole words are swapped ("leftover" stays) and capitals are kept ("Left" becomes "Right").
    """
    swaps = [
        (match.start(), match.end(), _like(match[0], _OPPOSITE[match[0].lower()]))
        for match in _DIRECTION.finditer(prompt.caption)
    ]
    caption, last = "", 0
    for start, end, word in swaps:
        caption += prompt.caption[last:start] + word
        last = end
    caption += prompt.caption[last:]

    def moved(position: int, is_end: bool) -> int:
        shift = 0
        for start, end, word in swaps:
            if position >= end:
                shift += len(word) - (end - start)
            elif start < position < end:  # A span cut through the word takes all of it.
                return start + shift + (len(word) if is_end else 0)
        return position + shift

    spans = tuple(
        tuple((moved(a, is_end=False), moved(b, is_end=True)) for a, b in phrase)
        for phrase in prompt.tokens_positive
    )
    return Prompt(caption, spans)


def _like(model: str, word: str) -> str:
    """Give a word the capitals of another."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


def training_names(
    present: Iterable[int],
    num_names: int,
    max_negatives: int,
    generator: torch.Generator | None = None,
) -> list[int]:
    """Choose and order the names of a training prompt: all present ones and sampled negatives.

    Half of the prompts get as many negatives as allowed, the others a uniform number of them, so
    that the model meets short and long prompts (GLIP's recipe for detection data, without its
    background name). The order is random: no name may be learned by its position.

    Args:
        present: Ids of the names that the image shows.
        num_names: How many names the data set has.
        max_negatives: Negatives to sample at most.
        generator: Source of randomness; torch's global one by default.

    Returns:
        Ids in prompt order; never empty when `num_names` is positive.
    """
    positives = sorted(set(present))
    absent = torch.ones(num_names, dtype=torch.bool)
    absent[positives] = False
    pool = absent.nonzero().flatten()
    most = min(max_negatives, len(pool))
    if most and torch.rand((), generator=generator) < 0.5:
        most = int(torch.randint(1, most + 1, (), generator=generator))
    least = 0 if positives else min(1, len(pool))  # An image without boxes still needs a prompt.
    chosen = pool[torch.randperm(len(pool), generator=generator)[: max(most, least)]]
    ids = torch.cat([torch.tensor(positives, dtype=torch.long), chosen])
    shuffled: list[int] = ids[torch.randperm(len(ids), generator=generator)].tolist()
    return shuffled
