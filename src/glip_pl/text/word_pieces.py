"""BERT's word pieces: their files, read and written as transformers does, by ``tokenizers`` alone.

A vocabulary is ``tokenizer.json``, which says all, or ``vocab.txt``, whose rules are BERT's own.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

_CONFIG, _WHOLE, _VOCABULARY = "tokenizer_config.json", "tokenizer.json", "vocab.txt"
TOKENIZER_FILES = (_WHOLE, _VOCABULARY)
_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the word pieces of a folder.

    Raises:
        ValueError: A file is damaged.
    """
    if (folder / _WHOLE).is_file():
        try:
            whole = Tokenizer.from_file(str(folder / _WHOLE))
        except Exception as error:  # The library raises bare exceptions.
            raise ValueError(f"{str(folder / _WHOLE)!r} is damaged: {error}") from error
        # Files of sentence encoders cut and pad all texts to one length.
        whole.no_truncation()
        whole.no_padding()
        return whole
    lines = (folder / _VOCABULARY).read_text("utf-8").removesuffix("\n").split("\n")
    return _bert_tokenizer({word: k for k, word in enumerate(lines)}, _settings(folder))


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write word pieces as transformers and tokenizers read them."""
    tokenizer.save(str(folder / _WHOLE))
    rules: Any = tokenizer.normalizer
    described = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": bool(getattr(rules, "lowercase", True)),
        "tokenize_chinese_chars": bool(getattr(rules, "handle_chinese_chars", True)),
        "strip_accents": getattr(rules, "strip_accents", None),
        **_SPECIAL,
    }
    (folder / _CONFIG).write_text(json.dumps(described, indent=2) + "\n")


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    settings: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return settings


def _bert_tokenizer(words: dict[str, int], settings: dict[str, Any]) -> Tokenizer:
    """Build what transformers' ``BertTokenizer`` is."""
    special = {name: settings.get(name) or token for name, token in _SPECIAL.items()}
    tokenizer = Tokenizer(WordPiece(words, unk_token=special["unk_token"]))
    made: Any = tokenizer
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(list(special.values()))
    first, last = special["cls_token"], special["sep_token"]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )
    return tokenizer
