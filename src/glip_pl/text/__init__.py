"""Text: captions to tokens, and tokens to features; each encoder owns its tokenizer."""

from glip_pl.text.encoders import (
    BertEncoder,
    ClassEmbedding,
    PhraseBertEncoder,
    TextEncoder,
    TinyBert,
)
from glip_pl.text.tokenizers import ClassTokenizer, PhraseTokenizer, WordPieceTokenizer

__all__ = [
    "BertEncoder",
    "ClassEmbedding",
    "ClassTokenizer",
    "PhraseBertEncoder",
    "PhraseTokenizer",
    "TextEncoder",
    "TinyBert",
    "WordPieceTokenizer",
]
