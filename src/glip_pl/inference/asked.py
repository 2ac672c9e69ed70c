"""What the callers of the Python API may give for prompts."""

from collections.abc import Sequence
from typing import Any

from glip_pl.prompts.compiled import CompiledPrompt

PromptLike = str | CompiledPrompt


def one_each(prompt: Any, count: int) -> list[PromptLike]:
    """Return a prompt for each of `count` images: one for all, or a list of as many.

    Raises:
        ValueError: It is no prompt, or there are more or fewer than images.
    """
    listed = not isinstance(prompt, str | CompiledPrompt) and isinstance(prompt, Sequence)
    given = list(prompt) if listed else [prompt] * count
    wrong = [p for p in given if not isinstance(p, str | CompiledPrompt)]
    if wrong:
        raise ValueError(
            f"a prompt of type {type(wrong[0]).__name__} cannot be read; give a text such as "
            '"cat. dog.", or a list with one text per image'
        )
    if len(given) != count:
        raise ValueError(
            f"there are {len(given)} prompts for {count} images; give one text for all, such "
            'as "cat. dog.", or one for each'
        )
    return given
