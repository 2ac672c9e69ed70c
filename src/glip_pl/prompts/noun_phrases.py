"""Noun phrases of an English caption by rules: nothing to download, and good enough for captions.

Words are sorted by short lists and endings: those that open a phrase ("a", "two"), those that
describe ("red", "parked" before a noun), those that close it ("with", "is", "sitting"); all others
are taken for nouns. Official GLIP does the same with a part-of-speech tagger:
``NP: {<DT>?<JJ.*>*<NN.*>+}``.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from glip_pl.prompts import english
from glip_pl.prompts.prompt import Span

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")
_PHRASAL = re.compile(
    r"\b(?:" + "|".join(words.replace(" ", r"\s+") for words in english.PHRASAL) + r")\b",
    re.IGNORECASE,
)


class _Kind(Enum):
    OPENER = auto()
    ADJECTIVE = auto()
    NOUN = auto()
    CLOSED = auto()


@dataclass(frozen=True)
class _Word:
    text: str
    start: int
    end: int


def noun_phrases(caption: str) -> tuple[tuple[Span, ...], ...]:
    """Find what an English caption names.

    "A man on a red bike" has the phrases "A man" and "a red bike"; "a group of people" is one.
    Pronouns and mere places ("the background") are none.

    Returns:
        Per phrase one span [start, end) in the caption, in order and without overlap.
    """
    words = _words(caption)
    found: list[tuple[Span, ...]] = []
    phrase: list[_Word] = []
    kinds: list[_Kind] = []

    def close() -> None:
        span = _span(phrase, kinds)
        if span is not None:
            found.append((span,))
        phrase.clear()
        kinds.clear()

    for k, word in enumerate(words):
        after = words[k + 1].text if k + 1 < len(words) else ""
        if _joins(word.text, after, phrase, kinds):
            continue
        before = words[k - 1].text if k else ""
        kind = _kind(word.text, before, after, phrase, kinds)
        if kind is _Kind.CLOSED:
            close()
            continue
        if kind is _Kind.OPENER and not all(opener is _Kind.OPENER for opener in kinds):
            close()
        phrase.append(word)
        kinds.append(kind)
    close()
    return tuple(found)


def _words(caption: str) -> list[_Word]:
    """Split into words and marks, lower-case; a phrasal preposition counts as a mark."""
    hidden = _PHRASAL.sub(lambda match: "|" * len(match[0]), caption)
    return [_Word(m[0].lower().replace("’", "'"), *m.span()) for m in _WORD.finditer(hidden)]


def _joins(text: str, after: str, phrase: list[_Word], kinds: list[_Kind]) -> bool:
    """Whether a phrase goes on behind this word: "black and white", "large, red", "a group of"."""
    if text == "of":
        return bool(phrase) and phrase[-1].text in english.QUANTITIES and _may_be_noun(after)
    described = kinds[-1:] == [_Kind.ADJECTIVE] and _Kind.NOUN not in kinds
    return (
        text in {"and", ","}
        and described
        and (after in english.ADJECTIVES or _is_participle(after))
    )


def _kind(text: str, before: str, after: str, phrase: list[_Word], kinds: list[_Kind]) -> _Kind:
    """Sort a word by its lists, its ending and its neighbours."""
    if not text[0].isalnum() or text in english.CLOSED:
        return _Kind.CLOSED
    if text in english.DETERMINERS or text[0].isdigit():
        return _Kind.OPENER
    if text in english.ADJECTIVES:
        # Behind its noun it says something about the whole: "a door open to the street".
        behind = _Kind.NOUN in kinds and not _may_be_noun(after)
        return _Kind.CLOSED if behind else _Kind.ADJECTIVE
    if _is_verb(text, before, after, phrase, kinds):
        return _Kind.CLOSED
    adverb = text.endswith("ly") and text not in english.NOUNS_WITH_LY
    if adverb or text in english.INTENSIFIERS:
        return _Kind.ADJECTIVE if phrase and _Kind.NOUN not in kinds else _Kind.CLOSED
    if _is_participle(text):
        return _Kind.ADJECTIVE if _may_be_noun(after) else _Kind.CLOSED
    if text.endswith("ing") and len(text) > 4 and text not in english.NOUNS_WITH_ING:
        describes = phrase and _Kind.NOUN not in kinds
        return _Kind.ADJECTIVE if describes else _Kind.CLOSED
    return _Kind.NOUN


def _is_verb(text: str, before: str, after: str, phrase: list[_Word], kinds: list[_Kind]) -> bool:
    """Whether a word that could be a verb is one here: "dogs run", "a dog runs", not "two runs"."""
    if text in english.VERBS_WITH_S:
        counted = any(word.text in english.MANY or word.text.isdigit() for word in phrase)
        begins = not phrase and before in {"", "and", *english.SUBJECTS}
        return begins or (_Kind.NOUN in kinds and not counted)
    if text not in english.VERBS:
        return False
    if kinds[-1:] == [_Kind.NOUN]:
        return _is_plural(before)
    if phrase:
        return False
    continues = before == "and" and after in english.DETERMINERS
    return continues or before in english.SUBJECTS or before in english.BEFORE_VERBS


def _is_plural(text: str) -> bool:
    ends = text.endswith("s") and not text.endswith(("ss", "'s"))
    return text in english.PLURALS or (ends and text not in english.NOT_PLURAL)


def _is_participle(text: str) -> bool:
    ends = text.endswith("ed") and len(text) > 4 and not text.endswith("eed")
    return ends and text not in english.NOUNS_WITH_ED


def _may_be_noun(text: str) -> bool:
    """Whether a word, alone, could go on with a phrase."""
    if not text[:1].isalpha() or text in english.CLOSED or text in english.DETERMINERS:
        return False
    return not text.endswith("ing") or text in english.NOUNS_WITH_ING


def _span(phrase: list[_Word], kinds: list[_Kind]) -> Span | None:
    """Return the characters of a finished phrase without places at its end; None for no thing."""
    length = len(phrase)
    while length and phrase[length - 1].text in english.PLACES:
        length -= 1
    named = _Kind.NOUN in kinds[:length] or (length == len(phrase) and _Kind.OPENER in kinds)
    if not length or not named or kinds[length - 1] is _Kind.OPENER:
        return None
    return phrase[0].start, phrase[length - 1].end
