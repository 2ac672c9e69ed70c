"""What a user types to be found: names, a file of names, or a sentence."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.names import split_names
from glip_pl.prompts.prompt import Prompt, Span
from glip_pl.prompts.tokens import Tokenizer


def compile_request(
    text: str, tokenizer: Tokenizer, *, caption: bool, unwanted: str | None = None
) -> CompiledPrompt:
    """Read what the user wants to find.

    Args:
        text: Names with dots or commas between, a text file with one name per line, or a sentence.
            "sofa | couch" is one name with two phrases, of which the better counts.
        tokenizer: That of the model.
        caption: Whether it is a sentence. Its phrases stand in brackets; without brackets they are
            found by `glip_pl.prompts.noun_phrases`.
        unwanted: Names that are asked as well, so that their boxes are not given to others.

    Raises:
        ValueError: It names nothing, or cannot be read by the model.
    """
    if caption and unwanted:
        raise ValueError("--not goes with names; a sentence names what it means by itself")
    if caption and "[" in text:
        marked = parse_caption(text)
        return compile_caption(marked.caption, tokenizer, tokens_positive=marked.tokens_positive)
    if caption:
        return compile_caption(text, tokenizer)
    if text.endswith(".txt") and Path(text).is_file():
        names = [line.strip() for line in Path(text).read_text().splitlines() if line.strip()]
    else:
        names = split_names(text)
    return _compile_alternatives(names, split_names(unwanted) if unwanted else [], tokenizer)


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
