"""What no text encoder can read is refused before it is packed."""

from collections.abc import Sequence

from glip_pl.prompts.prompt import PromptTemplate
from glip_pl.prompts.tokens import SPECIAL_TOKENS, Tokenizer

# Names times tokens of all of them are held for an image: with so many, about 3 GB.
MOST_NAMES = 10_000


def check_number(names: Sequence[str]) -> None:
    """Refuse more names than fit into memory."""
    if len(names) > MOST_NAMES:
        raise ValueError(
            f"{len(names)} names are more than the {MOST_NAMES} that can be asked for at once; "
            "ask for them in several runs"
        )


def check_readable(names: Sequence[str], phrases: Sequence[str], tokenizer: Tokenizer) -> None:
    """Refuse phrases in which the tokenizer sees nothing."""
    for i, (phrase, count) in enumerate(zip(phrases, tokenizer.count(phrases), strict=True)):
        if not count or not phrase.strip():
            raise ValueError(
                f"name {i}, {names[i]!r}, has nothing that the text encoder reads; remove it or "
                "name the thing"
            )


def check_room(captions: Sequence[str], costs: Sequence[int], room: int) -> None:
    """Refuse pieces that do not even fit alone."""
    long = [repr(text) for text, cost in zip(captions, costs, strict=True) if cost > room]
    if long:
        raise ValueError(
            f"{', '.join(long[:3])} ({len(long)} in all) need up to {max(costs)} tokens in a "
            f"prompt of their own, but there is room for {max(room, 0)}; shorten them, or raise "
            "max_tokens of the text encoder"
        )


def room_for_names(template: PromptTemplate, tokenizer: Tokenizer) -> tuple[int, int]:
    """Count the tokens that names may take in one prompt, each with a separator behind it.

    Returns:
        The room, and the tokens of a separator. n names need n - 1 separators: the room has the one
        that each name brings too many.
    """
    frame = [template.prefix, template.separator, template.suffix]
    prefix, separator, suffix = tokenizer.count(frame)
    return tokenizer.max_tokens - SPECIAL_TOKENS - prefix - suffix + separator, separator
