"""How much each token counts for its phrase: what names share tells none of them apart.

Of "nine playing card" and "ten playing card" two words out of three are the same. Where phrases are
compared as a whole, a token counts by one over the number of phrases that have it, so that "nine"
decides; a name that shares nothing is the plain mean of its tokens.
"""

from __future__ import annotations  # PyTorch is imported where its tensors are asked for.

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_TINY = np.finfo(np.float32).tiny


def count_phrases(ids: Tensor | np.ndarray, mapped: Tensor | np.ndarray) -> Counter[int]:
    """Count the phrases that have each token id.

    Args:
        ids: Of the tokens of a caption, [M].
        mapped: Boolean [K, M], True where phrase k covers token m.
    """
    phrases, tokens = np.asarray(mapped).nonzero()
    written = np.asarray(ids)[tokens]
    return Counter(token for _, token in set(zip(phrases.tolist(), written.tolist(), strict=True)))


@overload
def token_weights(ids: Tensor, mapped: Tensor, phrases: Mapping[int, int]) -> Tensor: ...


@overload
def token_weights(
    ids: np.ndarray, mapped: np.ndarray, phrases: Mapping[int, int]
) -> np.ndarray: ...


def token_weights(
    ids: Tensor | np.ndarray, mapped: Tensor | np.ndarray, phrases: Mapping[int, int]
) -> Tensor | np.ndarray:
    """Compute how much each token counts for each phrase.

    Args:
        ids: Token ids [M].
        mapped: Boolean [K, M], True where phrase k covers token m.
        phrases: In how many phrases each token id stands, over all parts of a vocabulary.

    Returns:
        [K, M]; a row sums to one, or is zero where a phrase covers no token.
    """
    shared = np.array([max(phrases.get(token, 1), 1) for token in ids.tolist()], np.float32)
    own = np.asarray(mapped) / shared
    weights: np.ndarray = own / np.maximum(own.sum(-1, keepdims=True), _TINY)
    if isinstance(mapped, np.ndarray):
        return weights
    import torch

    return torch.from_numpy(weights)
