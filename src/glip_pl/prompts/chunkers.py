"""Noun phrases by the parsers of other packages, where these and their models are installed.

`noun_phrases` is a `NounChunker` that needs neither; pass what a chunker finds to
`compile_caption` as ``tokens_positive``.
"""

import re
from importlib import import_module
from typing import Any, Protocol

from glip_pl.prompts.prompt import Span

_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
# Official GLIP's grammar NP: {<DT>?<JJ.*>*<NN.*>+}, one letter per tag.
_NOUN_PHRASE = re.compile("D?J*N+")
_LETTERS = {"DT": "D", "JJ": "J", "NN": "N"}


class NounChunker(Protocol):
    """Finds what a caption names."""

    def __call__(self, caption: str) -> tuple[tuple[Span, ...], ...]:
        """Give the character spans [start, end) of each noun phrase, in order."""


class SpacyChunker:
    """Noun phrases by a pipeline of spaCy, for any language that has one.

    Args:
        model: Name or folder of an installed pipeline with a parser.

    Raises:
        ValueError: spaCy or the pipeline is not installed.
    """

    def __init__(self, model: str = "en_core_web_sm") -> None:
        spacy = _import("spacy")
        try:
            self._pipeline: Any = spacy.load(model)
        except OSError as error:
            raise ValueError(
                f"spaCy has no pipeline {model!r}; run: python -m spacy download {model}"
            ) from error

    def __call__(self, caption: str) -> tuple[tuple[Span, ...], ...]:
        """Give the span of each noun chunk; pronouns are left out."""
        return tuple(
            ((chunk.start_char, chunk.end_char),)
            for chunk in self._pipeline(caption).noun_chunks
            if chunk.root.pos_ != "PRON"
        )


class NltkChunker:
    """Noun phrases by the tagger of nltk and the grammar of official GLIP.

    Raises:
        ValueError: nltk or the data of its tagger are not installed.
    """

    def __init__(self) -> None:
        self._tag: Any = _import("nltk").pos_tag
        try:
            self._tag(["word"])
        except LookupError as error:
            raise ValueError(
                "nltk lacks the data of its tagger; run: "
                "python -m nltk.downloader averaged_perceptron_tagger_eng"
            ) from error

    def __call__(self, caption: str) -> tuple[tuple[Span, ...], ...]:
        """Give the span of each match of the grammar."""
        words = list(_WORD.finditer(caption))
        tags = [tag for _, tag in self._tag([word[0] for word in words])]
        letters = "".join(_LETTERS.get(tag[:2], "-") for tag in tags)
        return tuple(
            ((words[found.start()].start(), words[found.end() - 1].end()),)
            for found in _NOUN_PHRASE.finditer(letters)
        )


def _import(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(
            f"the package {package} is not installed; run: pip install {package}, or use "
            "glip_pl.prompts.noun_phrases, which needs none"
        ) from error
