"""The exported tokenizer: captions to token ids, as NumPy arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as FileTokenizer

from glip_pl.prompts.prompt import Prompt
from glip_pl.prompts.tokens import TokenBatch


class RuntimeTokenizer:
    """What `glip_pl.text.WordPieceTokenizer` does, from its file alone.

    Args:
        path: The file tokenizer.json.
        max_tokens: Longest caption in tokens, special tokens included.
        unknown_token: What stands for words that the vocabulary lacks.
    """

    def __init__(self, path: Path, max_tokens: int, unknown_token: str) -> None:
        self._tokenizer = FileTokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._unknown = self._tokenizer.token_to_id(unknown_token)
        self.max_tokens = max_tokens

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        """Tokenize prompts, padded to the longest; see `glip_pl.text.WordPieceTokenizer`."""
        encoded = self._tokenizer.encode_batch([prompt.caption for prompt in prompts])
        longest = max(len(caption.ids) for caption in encoded)
        if longest > self.max_tokens:
            raise ValueError(
                f"a caption has {longest} tokens, more than the {self.max_tokens} that the model "
                "reads; name fewer things"
            )
        ids = np.zeros((len(encoded), longest), np.int64)
        mask = np.zeros((len(encoded), longest), bool)
        offsets = np.zeros((len(encoded), longest, 2), np.int64)
        for b, caption in enumerate(encoded):
            count = len(caption.ids)
            ids[b, :count], mask[b, :count], offsets[b, :count] = caption.ids, True, caption.offsets
        arrays: Any = (ids, mask, offsets)
        return TokenBatch(*arrays)

    def count(self, names: Sequence[str]) -> list[int]:
        """Count the tokens of each name, special tokens left out."""
        return [len(ids) for ids in self._ids(names)]

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        """Check for each name whether a part of it is unknown."""
        return [self._unknown in ids for ids in self._ids(names)]

    def _ids(self, names: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch(list(names), add_special_tokens=False)
        return [name.ids for name in encoded]
