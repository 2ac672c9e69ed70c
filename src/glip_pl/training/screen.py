"""Text that fits on the screens of all."""

import textwrap

WIDTH = 80


def wrapped(text: str) -> str:
    """Wrap every line at 80 columns; words, and so paths, stay whole."""
    return "\n".join(
        textwrap.fill(
            *(line, WIDTH),
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        for line in text.splitlines()
    )
