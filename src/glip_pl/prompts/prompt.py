"""A caption with the character spans of its phrases: joined of names, surrounded, mirrored."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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

    def shifted(self, by: int) -> tuple[tuple[Span, ...], ...]:
        """Return the spans of each phrase once `by` characters stand before the caption."""
        return tuple(tuple((a + by, b + by) for a, b in spans) for spans in self.tokens_positive)


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
        for k, name in enumerate(names):
            if not name.strip():
                raise ValueError(f"name {k} of the prompt is blank; remove it or name the thing")
        return self.join_prompts([Prompt(name, (((0, len(name)),),)) for name in names])

    def join_prompts(self, prompts: Sequence[Prompt]) -> Prompt:
        """Join prompts into one that has all their phrases, in order.

        Raises:
            ValueError: No prompt is given.
        """
        if not prompts:
            raise ValueError("the prompt is empty; name at least one thing to look for")
        caption, phrases = self.prefix, list[tuple[Span, ...]]()
        for k, prompt in enumerate(prompts):
            caption += self.separator if k else ""
            phrases += prompt.shifted(len(caption))
            caption += prompt.caption
        return Prompt(caption + self.suffix, tuple(phrases))


def surround(prompt: Prompt, before: Sequence[str], after: Sequence[str]) -> Prompt:
    """Put other captions before and after that of a prompt; its phrases stay the only ones."""
    start = "".join(_sentence(caption) for caption in before)
    caption = start + _sentence(prompt.caption) + "".join(_sentence(caption) for caption in after)
    return Prompt(caption, prompt.shifted(len(start)))


def _sentence(caption: str) -> str:
    return caption + (" " if caption.endswith(".") else ". ")


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
    """Return a word with the capitals of another."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
