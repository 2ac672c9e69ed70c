"""Detection prompts character for character as official GLIP writes them.

`glip_pl.prompts` joins the same words; only blanks differ, which no tokenizer of BERT sees.
"""

import re
from collections.abc import Sequence

from glip_pl.prompts import Prompt, Span

Described = tuple[str, str, str]


def official_name(name: str) -> str:
    """Clean a category name as official GLIP does, blanks at its end included."""
    without_note = re.sub(r"\(.*\)", "", name)
    return without_note.replace("_", " ").replace("  ", " ")


def detection_prompt(
    names: Sequence[str],
    *,
    described: Sequence[Described] | None = None,
    suppressed: Sequence[str] = (),
) -> Prompt:
    """Write the prompt of an evaluation.

    Args:
        names: Category names in the order of their ids.
        described: Per category what stands before its name, the name, and what stands after; these
            are taken as they are, and only the name is a phrase.
        suppressed: Words at the end that no box is given to.

    Returns:
        A prompt with one phrase per name; a name that is blank once cleaned has no span, so it is
        left out, as it has no token.
    """
    parts = described or [("", official_name(name), "") for name in names]
    caption, spans = "", list[tuple[Span, ...]]()
    for k, (before, name, after) in enumerate(parts):
        caption += (". " if k else "") + before
        if name.strip():
            spans.append(((len(caption), len(caption) + len(name)),))
        caption += name + after
    return Prompt("".join([caption, *(f". {word}" for word in suppressed)]), tuple(spans))
