"""What a user types to be found: names, a file of names, or a sentence."""

from pathlib import Path

from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.names import split_names
from glip_pl.prompts.prompt import Prompt, Span
from glip_pl.prompts.tokens import Tokenizer


def compile_request(text: str, tokenizer: Tokenizer, *, caption: bool) -> CompiledPrompt:
    """Read what the user wants to find.

    Args:
        text: Names with dots or commas between, a text file with one name per line, or a sentence.
        tokenizer: That of the model.
        caption: Whether it is a sentence. Its phrases stand in brackets; without brackets they are
            found by `glip_pl.prompts.noun_phrases`.

    Raises:
        ValueError: It names nothing, or cannot be read by the model.
    """
    if caption and "[" in text:
        marked = parse_caption(text)
        return compile_caption(marked.caption, tokenizer, tokens_positive=marked.tokens_positive)
    if caption:
        return compile_caption(text, tokenizer)
    if text.endswith(".txt") and Path(text).is_file():
        names = [line.strip() for line in Path(text).read_text().splitlines() if line.strip()]
    else:
        names = split_names(text)
    return compile_names(names, tokenizer)


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
