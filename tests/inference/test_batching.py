"""Tests of which images are computed together."""

from pathlib import Path

import numpy as np
import pytest

import glip_pl.text.vocabulary
from glip_pl.inference.batching import View, group
from glip_pl.prompts.compiler import compile_names
from glip_pl.text.tokenizers import WordPieceTokenizer
from glip_pl.text.word_pieces import read_tokenizer

TOKENIZER = WordPieceTokenizer(
    read_tokenizer(Path(glip_pl.text.vocabulary.__file__).parent), max_tokens=64
)
PROMPT = compile_names(["cat"], TOKENIZER)


def views(side: int, count: int) -> list[View]:
    return [View(np.zeros((side, side, 3), np.uint8), (side, side))] * count


@pytest.mark.parametrize(("side", "together"), [(128, 32), (192, 14), (800, 8)])
def test_small_images_come_in_larger_batches(side, together):
    batches = group(views(side, 40), [PROMPT] * 40, None)

    assert max(len(batch) for batch in batches) == together
    assert sorted(k for batch in batches for k in batch) == list(range(40))


def test_a_number_of_images_that_is_asked_for_is_kept():
    batches = group(views(32, 5), [PROMPT] * 5, 2)

    assert [len(batch) for batch in batches] == [2, 2, 1]
