"""How much each token counts where phrases are compared as a whole."""

import numpy as np
import pytest
import torch

from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.weights import count_phrases, token_weights
from glip_pl.text import TinyBert


def of_words(*phrases):
    """The tokens of phrases, a word each, and which belong to which."""
    words = [word for phrase in phrases for word in phrase.split()]
    ids = [sorted(set(words)).index(word) for word in words]
    mapped = torch.zeros(len(phrases), len(words), dtype=torch.bool)
    start = 0
    for k, phrase in enumerate(phrases):
        mapped[k, start : start + len(phrase.split())] = True
        start += len(phrase.split())
    return torch.tensor(ids), mapped


def weigh(*phrases):
    ids, mapped = of_words(*phrases)
    return token_weights(ids, mapped, count_phrases(ids, mapped))


def test_a_word_that_two_names_share_counts_half():
    weights = weigh("red cell", "white cell")

    assert torch.allclose(weights, torch.tensor([[2 / 3, 1 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]]))


def test_words_that_no_other_name_has_count_alike():
    assert torch.allclose(weigh("hair drier", "cat")[0], torch.tensor([0.5, 0.5, 0]))


def test_a_word_twice_in_one_name_is_not_shared():
    assert torch.allclose(weigh("knock knock", "cat")[0], torch.tensor([0.5, 0.5, 0]))


def test_phrases_may_overlap():
    mapped = torch.tensor([[1, 1, 1], [0, 0, 1]], dtype=torch.bool)  # "a red cup", "cup"
    ids = torch.tensor([1, 2, 3])

    weights = token_weights(ids, mapped, count_phrases(ids, mapped))

    assert torch.allclose(weights, torch.tensor([[0.4, 0.4, 0.2], [0, 0, 1]]))


def test_without_torch_the_weights_are_the_same():
    ids, mapped = of_words("red cell", "white cell", "platelet")
    counts = count_phrases(ids, mapped)

    found = token_weights(ids.numpy(), mapped.numpy(), counts)

    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, token_weights(ids, mapped, counts).numpy())


@pytest.mark.parametrize("names_per_chunk", [1, 2, 6])
def test_packing_changes_no_weight(names_per_chunk):
    tokenizer = TinyBert(d_text=8, num_layers=1, num_heads=1).tokenizer
    names = ["red cup", "blue cup", "red circle", "blue circle", "cup", "square"]

    def of(**how):
        chunks = compile_names(names, tokenizer, **how).chunks
        return {
            i: row[own].tolist()
            for chunk in chunks
            for i, row, own in zip(chunk.phrase_ids, chunk.weights, chunk.positive_map, strict=True)
        }

    assert of(names_per_chunk=names_per_chunk) == of()
