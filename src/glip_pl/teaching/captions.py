"""What a caption asks a teacher for: its noun phrases, without those that it denies."""

import re

from glip_pl.prompts import Prompt, Span
from glip_pl.prompts.noun_phrases import noun_phrases

NO_CAPTION = "image without a caption"
NO_PHRASE = "caption without a noun phrase"
FOREIGN = "caption in another language than English"
TOO_LONG = "caption of too many words"
MOST_WORDS = 200

# What stands before or inside a phrase that is not in the picture.
_DENIES = re.compile(r"(?i)\b(?:no|not|never|without(?: any| a| an)?|neither|nor)\s*$")
_DENIED_WITHIN = re.compile(r"(?i)^(?:no|neither)\b")
# Small words of other languages that use the same letters; English has none of them.
_FOREIGN_WORDS = frozenset(
    "der die das und ein eine einen mit auf ist im zwei le la les une des du avec est sur dans et "
    "el los las una con en del por y il gli della di che een het op uma com".split()
) - {"die", "en", "y"}
_MANY = 2


def asked_of(caption: str) -> tuple[Prompt | None, str | None]:
    """Find the phrases of a caption that a teacher should look for.

    Args:
        caption: A sentence or several.

    Returns:
        The caption with the spans of its phrases, and None; or None and the reason why it teaches
        nothing.
    """
    words = re.findall(r"[^\W\d_]+", caption)
    if len(words) > MOST_WORDS:
        return None, TOO_LONG
    if _is_foreign(words):
        return None, FOREIGN
    wanted = tuple(spans for spans in noun_phrases(caption) if not _is_denied(caption, spans))
    if not wanted:
        return None, NO_PHRASE
    return Prompt(caption, wanted), None


def _is_denied(caption: str, spans: tuple[Span, ...]) -> bool:
    start, end = spans[0]
    return bool(_DENIES.search(caption[:start]) or _DENIED_WITHIN.match(caption[start:end]))


def _is_foreign(words: list[str]) -> bool:
    if not words:
        return False
    letters = "".join(words)
    plain = sum(letter.isascii() for letter in letters) / len(letters)
    small = sum(word.lower() in _FOREIGN_WORDS for word in words)
    return plain < 0.7 or small >= _MANY
