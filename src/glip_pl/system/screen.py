"""What is written for people to read: text that fits on the screens of all.

In a terminal, lines are wrapped between words, so that no path or name is torn apart. Elsewhere
they stay whole, one fact a line, as programs want to read them.
"""

import logging
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TextIO

WIDTH = 80


def wrapped(text: str) -> str:
    """Wrap every line at 80 columns, two deeper than it began; words, and so paths, stay whole."""
    return "\n".join(
        textwrap.fill(
            *(line, WIDTH),
            subsequent_indent=" " * (len(line) - len(line.lstrip()) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    )


def write(*texts: str) -> None:
    """Write lines to the output."""
    _write("\n".join(texts), sys.stdout)


def complain(*texts: str) -> None:
    """Write lines to the error output."""
    _write("\n".join(texts), sys.stderr)


def next_command(*words: str) -> str:
    """Return a line that says what to type next, which a shell can read however it is wrapped.

    Args:
        words: The command and its options. One that no shell would find, such as the
            ``.venv/bin/glip`` that `make` runs, is named by its path.
    """
    lines, room = [""], WIDTH - len("next:    ") - 2
    called = Path(sys.argv[0])
    if called.name == words[0] and shutil.which(words[0]) is None:
        words = (str(called), *words[1:])
    quoted = [shlex.quote(word) for word in words]
    # A long path stands further to the left, so that it still fits.
    indent = max(2, min(len("next:    ") + 2, WIDTH - 2 - max(map(len, quoted))))
    for word in quoted:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "next:    " + f" \\\n{' ' * indent}".join(lines)


def next_prediction(weights: str | Path) -> str:
    """Return the line that says how to detect with weights."""
    return next_command(
        "glip", "predict", f"--weights={weights}", "--image=PHOTO", "--prompt=NAMES"
    )


def show_warnings() -> None:
    """Let warnings and errors of this package be written as `complain` does."""
    logger = logging.getLogger("glip_pl")
    if not any(isinstance(handler, _Complain) for handler in logger.handlers):
        logger.addHandler(_Complain(logging.WARNING))


class _Complain(logging.Handler):
    """The error output of the moment, which tests and notebooks replace."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        complain(self.format(record))


def _write(text: str, stream: TextIO) -> None:
    stream.write(f"{wrapped(text) if stream.isatty() else text}\n")
    stream.flush()  # Whoever watches a file sees how far it is.
