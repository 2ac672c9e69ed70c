"""Phrases in captions, as the grounding formats read and write them."""

from collections.abc import Mapping
from typing import Any

from glip_pl.data.formats.common.records import AnnotationSet
from glip_pl.prompts import Span

SPAN_OUTSIDE = "span outside the caption"
NO_CAPTION = "image without a caption"
# Without boxes a caption says that the image shows nothing of it.
NO_LINK_LEFT = "caption whose boxes are all left out"


def checked_spans(spans: Any, caption: str) -> tuple[Span, ...] | None:
    """Sort the spans of a phrase, [start, end) each.

    Returns:
        The spans; None where there are none, or one lies outside the caption or covers no word.
    """
    try:
        found = tuple(sorted({(int(start), int(end)) for start, end in spans}))
    except (TypeError, ValueError, OverflowError):
        return None
    inside = all(0 <= a < b <= len(caption) and not caption[a:b].isspace() for a, b in found)
    return found if found and inside else None


def phrase_of(caption: str, spans: tuple[Span, ...]) -> str:
    """Return the words of a phrase; the parts of a split one are joined by a space."""
    return " ".join(caption[start:end] for start, end in spans)


def find_phrase(phrase: str, caption: str) -> list[Span]:
    """Find a phrase as whole words in a caption, whatever the case of its letters.

    Returns:
        Every span [start, end) where it stands, in order.
    """
    text, wanted = caption.lower(), phrase.lower().strip()
    if len(text) != len(caption):  # A few letters have a longer lower case, which moves the rest.
        text, wanted = caption, phrase.strip()
    found = []
    start = text.find(wanted) if wanted else -1
    while start >= 0:
        end = start + len(wanted)
        if not _splits_word(text, start) and not _splits_word(text, end):
            found.append((start, end))
        start = text.find(wanted, start + 1)
    return found


def _splits_word(text: str, place: int) -> bool:
    around = text[max(place - 1, 0) : place + 1]
    return 0 < place < len(text) and all(_in_word(letter) for letter in around)


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def refuse_unlinked(sets: Mapping[str, AnnotationSet], form: str) -> None:
    """Refuse records without a caption and boxes without a phrase, which a form has no place for.

    Raises:
        ValueError: There is one.
    """
    for split, annotation_set in sets.items():
        for record in annotation_set.records:
            if record.caption is None:
                wrong = "has no caption"
            elif any(not annotation.tokens_positive for annotation in record.annotations):
                wrong = "has a box that shows no phrase of its caption"
            else:
                continue
            raise ValueError(
                f"image {record.image_id} ({record.file_name}) of {split!r} {wrong}, which the "
                f"format {form} cannot hold; write odvg or coco instead"
            )
