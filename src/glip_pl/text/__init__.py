"""Text: captions to tokens, and tokens to features; each encoder owns its tokenizer."""

from glip_pl.text.encoders import BertEncoder, ClassEmbedding, TextEncoder, TinyBert
from glip_pl.text.tokenizers import ClassTokenizer, WordPieceTokenizer

__all__ = [
    "BertEncoder",
    "ClassEmbedding",
    "ClassTokenizer",
    "TextEncoder",
    "TinyBert",
    "WordPieceTokenizer",
]
