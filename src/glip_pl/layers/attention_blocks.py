"""Attention between image and text in blocks of positions, for a CPU without gradients.

Scores of all positions with all tokens would leave the cache and come back several times; here each
block of them is used up before the next is computed.
"""

import torch
from torch import Tensor

from glip_pl.layers.device import all_real
from glip_pl.layers.precision import at_least_fp32

# Scores computed at a time: small enough for the cache, large enough for the matrix products.
_BLOCK = 2**20

# One position in so many is looked at to tell how large scores are.
_SAMPLED = 64

# Sums of weights below it may have lost weights to the smallest number that float32 can hold.
_VANISHED = 1e-30


def attend_in_blocks(
    image: Tensor,
    folded: Tensor,
    shift: Tensor,
    values: Tensor,
    masks: tuple[Tensor, Tensor | None],
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Attend as `BiAttention._attend` without dropout; no score leaves the cache.

    One exponential serves both directions: divided by their sum over the tokens, the exp(s_nm) are
    what a position takes of each token, and divided by their sum over the positions, what a token
    takes of each position. Scores are counted from about the largest of their head, so that the
    exponentials stay within what float32 can hold.

    The arguments are those of `BiAttention._attend`, the values with their bias, and as masks the
    real tokens and, where some are padding, the real positions.

    Returns:
        The image with its update added, [B, N, d], and the rest of what `BiAttention._attend`
        returns, with zeros for padded tokens; or None where the scores of a head are spread so far
        that sums of exponentials overflow or vanish.
    """
    text_mask, image_mask = masks
    batch, heads, tokens, width = folded.shape
    updated, exact = torch.empty_like(image), at_least_fp32(shift)
    pooled = exact.new_zeros(batch, heads, tokens, width)
    total = exact.new_zeros(batch, heads, tokens, 1)
    unpadded = all_real(text_mask) and (image_mask is None or all_real(image_mask))
    # Images of few scores fill a block together; one that leaves tokens out stands alone.
    step = max(1, _BLOCK // (image.shape[1] * heads * tokens)) if unpadded else 1
    for first in range(0, batch, step):
        some = slice(first, first + step)
        real = slice(None) if all_real(text_mask[some]) else text_mask[first]
        seen = None if image_mask is None or all_real(image_mask[some]) else image_mask[some]
        shares = _attend_images(
            *(image[some], folded[some][:, :, real]),
            *(shift[some][..., real], values[some][:, :, real]),
            *(seen, updated[some]),
        )
        if shares is None:
            return None
        pooled[some][:, :, real], total[some][:, :, real] = shares
    return updated, pooled, total


def _attend_images(
    image: Tensor,
    folded: Tensor,
    shift: Tensor,
    values: Tensor,
    seen: Tensor | None,
    out: Tensor,
) -> tuple[Tensor, Tensor] | None:
    """Attend in images without padded tokens; write the updated positions [B, N, d] to `out`.

    Returns:
        Each token's mean of the positions that are seen, [B, H, M, d], and ones, [B, H, M, 1].
    """
    batch, heads, tokens, width = folded.shape
    query, value = folded.flatten(1, 2).transpose(1, 2), values.flatten(1, 2)
    total = at_least_fp32(shift).new_zeros(batch, heads, tokens, 1)
    pooled = total.new_zeros(batch, heads * tokens, width)
    least = total.new_tensor(torch.inf)
    sample = torch.baddbmm(shift.flatten(1)[:, None], image[:, ::_SAMPLED], query)
    largest = sample.view(batch, -1, heads, tokens).amax((1, 3))  # [B, H]
    offset = (shift - largest[..., None]).flatten(1)[:, None]
    step = max(1, _BLOCK // (batch * heads * tokens))
    for first in range(0, image.shape[1], step):
        some = image[:, first : first + step]
        weights = torch.baddbmm(offset, some, query).exp_().view(batch, -1, heads, tokens)
        of_cell = weights.sum(3, keepdim=True)
        least = torch.minimum(least, of_cell.amin())
        to_text = weights
        if seen is not None:
            to_text = weights * seen[:, first : first + step, None, None]
        total += to_text.sum(1)[..., None]
        pooled += to_text.flatten(2).transpose(1, 2) @ some
        weights *= of_cell.reciprocal()
        torch.baddbmm(some, weights.flatten(2), value, out=out[:, first : first + step])
    if torch.minimum(least, total.amin()) < _VANISHED or not total.isfinite().all():
        return None
    return pooled.view_as(folded) / total, torch.ones_like(total)
