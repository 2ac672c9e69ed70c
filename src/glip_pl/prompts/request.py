"""What a user types to be found: names, a file of names, or a sentence."""

import codecs
import csv
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.names import split_names, visible
from glip_pl.prompts.prompt import Prompt, Span
from glip_pl.prompts.tokens import Tokenizer

_LISTS = (".txt", ".names", ".csv")
# What people give for a file of names, too, and nobody looks for in a picture.
_OTHER_FILES = (".json", ".yaml", ".yml", ".tsv", ".xml")
_LONGEST_END, _LONGEST_NAME = 20, 255  # Letters of the end of a path, and of a file's name.
_TITLES = ("name", "names", "class", "class_name", "label", "category")


def compile_request(
    text: str, tokenizer: Tokenizer, *, caption: bool, unwanted: str | None = None
) -> CompiledPrompt:
    """Read what the user wants to find.

    Args:
        text: Names with dots or commas between, a file with one name per line (.txt, .names or
            .csv), or a sentence.
            "sofa | couch" is one name with two phrases, of which the better counts.
        tokenizer: That of the model.
        caption: Whether it is a sentence. Its phrases stand in brackets; without brackets they are
            found by `glip_pl.prompts.noun_phrases`.
        unwanted: Names that are asked as well, so that their boxes are not given to others.

    Raises:
        ValueError: It names nothing, or cannot be read by the model.
    """
    _refuse_other_file(text, caption=caption)
    if caption and unwanted:
        raise ValueError("--not goes with names; a sentence names what it means by itself")
    if caption and "[" in text:
        marked = parse_caption(text)
        return compile_caption(marked.caption, tokenizer, tokens_positive=marked.tokens_positive)
    if caption:
        return compile_caption(text, tokenizer)
    names = read_names(Path(text)) if text.lower().endswith(_LISTS) else split_names(text)
    return _compile_alternatives(names, split_names(unwanted) if unwanted else [], tokenizer)


def _refuse_other_file(text: str, *, caption: bool) -> None:
    """Refuse the name of a file that is no list of names, or stands in the place of a sentence."""
    end = Path(text[-_LONGEST_END:]).suffix.lower()
    if caption and end in _LISTS:
        raise ValueError(
            f"{text!r} is a file of names and no sentence; leave out --caption to look for them"
        )
    if end in _OTHER_FILES or (end not in ("", *_LISTS) and _is_file(text)):
        raise ValueError(
            f"names are not read from {text!r}; write one a line into a file that ends in .txt, or "
            "put a dot behind the name if that is what to look for"
        )


def _is_file(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and Path(text).is_file()


def read_names(file: Path) -> list[str]:
    """Read a file of names, one a line; a table has them under "name", or in its only column.

    A line is a name with whatever marks it has; only a lone line is split like a typed prompt.

    Raises:
        ValueError: There is no such file, it is not in UTF-8, or it is not clear what it names.
    """
    if not file.is_file():
        raise ValueError(
            f"there is no file of names {str(file)!r}; correct the path, or put a dot behind the "
            "name if that is what to look for"
        )
    content = file.read_bytes()
    try:
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except ValueError as error:
        raise ValueError(f"{str(file)!r} is not in UTF-8 ({error}); save it as UTF-8") from error
    if file.suffix.lower() == ".csv":
        # Spreadsheets part columns by semicolons where the comma is for decimals.
        first = text.partition("\n")[0]
        mark = next((m for m in ",;\t" if m in first), ",")
        rows = csv.reader(StringIO(text, newline=""), delimiter=mark)
        return _column_of_names([row for row in rows if any(row)], file)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return split_names(lines[0] if lines else "")
    return [name for line in lines if (name := line.rstrip(".,; "))]


def _column_of_names(rows: Sequence[Sequence[str]], file: Path) -> list[str]:
    """Take the names out of a table."""
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    titled = next((head.index(title) for title in _TITLES if title in head), None)
    column = 0 if titled is None else titled
    if titled is None and len(rows) == 1:
        return [name for cell in rows[0] if (name := visible(cell))]
    if titled is None and any(len(row) > 1 for row in rows):
        raise ValueError(
            f"{str(file)!r} has several columns and none of them is called name; write one column, "
            'or a first line such as "id,name"'
        )
    cells = [visible(row[column]) for row in rows[titled is not None :] if len(row) > column]
    if not any(cells):
        raise ValueError(f"{str(file)!r} names nothing; write one name a line")
    return [cell for cell in cells if cell]


def _compile_alternatives(
    names: Sequence[str], unwanted: Sequence[str], tokenizer: Tokenizer
) -> CompiledPrompt:
    """Compile names whose alternatives stand between bars, and others that are not wanted."""
    phrases, answers = list[str](), list[int]()
    for name in names:
        alternatives = [part.strip() for part in name.split("|")]
        if not all(alternatives):
            raise ValueError(
                f"the name {name!r} has nothing between its bars; write "
                '"sofa | couch" for two words for one thing'
            )
        answers += [len(phrases)] * len(alternatives)
        phrases += alternatives
    compiled = compile_names([*phrases, *unwanted], tokenizer)
    if len(phrases) == len(names) and not unwanted:
        return compiled
    return replace(compiled, answers=(*answers, *(-1 for _ in unwanted)))


def parse_caption(text: str) -> Prompt:
    """Read a sentence whose phrases stand in brackets: "[a cat] on [the sofa]".

    Raises:
        ValueError: No phrase is marked, or a bracket is not closed.
    """
    caption = ""
    spans: list[tuple[Span, ...]] = []
    for part in text.split("["):
        phrase, closed, rest = part.partition("]")
        if not caption and not spans and not closed:
            caption = part
            continue
        if not closed or not phrase.strip():
            raise ValueError(
                f"a bracket of the caption {text!r} is empty or not closed; mark each phrase like "
                '"[a cat] on [the sofa]"'
            )
        spans.append(((len(caption), len(caption) + len(phrase)),))
        caption += phrase + rest
    if not spans:
        raise ValueError(
            f"the caption {text!r} marks no phrase; put brackets around what to look for: "
            '"[a cat] on [the sofa]"'
        )
    return Prompt(caption, tuple(spans))
