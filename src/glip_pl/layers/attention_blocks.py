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
    for b in range(batch):
        real = slice(None) if all_real(text_mask[b]) else text_mask[b]
        seen = None if image_mask is None or all_real(image_mask[b]) else image_mask[b]
        shares = _attend_image(
            *(image[b], folded[b][:, real], shift[b][:, real], values[b][:, real]),
            *(seen, updated[b]),
        )
        if shares is None:
            return None
        pooled[b][:, real], total[b][:, real] = shares
    return updated, pooled, total


def _attend_image(
    image: Tensor,
    folded: Tensor,
    shift: Tensor,
    values: Tensor,
    seen: Tensor | None,
    out: Tensor,
) -> tuple[Tensor, Tensor] | None:
    """Attend in one image, without padded tokens; write the updated positions [N, d] to `out`.

    Returns:
        Each token's mean of the positions that are seen, [H, M, d], and ones, [H, M, 1].
    """
    heads, tokens, width = folded.shape
    query, value = folded.flatten(0, 1).T, values.flatten(0, 1)
    total = at_least_fp32(shift).new_zeros(heads, tokens, 1)
    pooled = total.new_zeros(heads * tokens, width)
    least = total.new_tensor(torch.inf)
    sample = torch.addmm(shift.flatten(), image[::_SAMPLED], query).view(-1, heads, tokens)
    offset = (shift - sample.amax((0, 2))[:, None]).flatten()
    step = max(1, _BLOCK // (heads * tokens))
    for first in range(0, len(image), step):
        some = slice(first, first + step)
        scores = torch.addmm(offset, image[some], query).view(-1, heads, tokens)
        weights = scores.exp_()
        of_cell = weights.sum(2, keepdim=True)
        least = torch.minimum(least, of_cell.amin())
        to_text = weights if seen is None else weights * seen[some, None, None]
        total += to_text.sum(0)[..., None]
        pooled += to_text.flatten(1).T @ image[some]
        weights *= of_cell.reciprocal()
        torch.addmm(image[some], weights.flatten(1), value, out=out[some])
    if torch.minimum(least, total.amin()) < _VANISHED or not total.isfinite().all():
        return None
    return pooled.view(heads, tokens, width) / total, torch.ones_like(total)
