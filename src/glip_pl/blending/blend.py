"""Weights between two models of one kind. See WiSE-FT (https://arxiv.org/abs/2109.01903).

After tuning, the point between before and after often keeps nearly all of what was known and has
nearly all of what was learned.
"""

from collections.abc import Mapping

from torch import Tensor


def blend_states(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """Compute (1 - alpha) · first + alpha · second, in float32 at least.

    At alpha 0 and 1 the result is one of the two, bit for bit. What cannot be averaged, such as an
    index, is the second's from a half on.

    Args:
        first: The state dict of the model before tuning.
        second: That of the model after it.
        alpha: In [0, 1].

    Raises:
        ValueError: They are not of one model, or alpha lies outside.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"--alpha={alpha} lies beyond the two models; give numbers from 0 to 1")
    unlike = [
        name
        for name in sorted({*first, *second})
        if name not in first or name not in second or first[name].shape != second[name].shape
    ]
    if unlike:
        raise ValueError(
            f"only weights of one model can be blended: {', '.join(unlike[:3])} ({len(unlike)} in "
            "all) are not the same in both; give a model, and what it was tuned to"
        )
    return {name: _between(first[name], second[name], alpha) for name in first}


def _between(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    if alpha in (0, 1) or not first.is_floating_point():
        return second if alpha >= 0.5 else first
    mixed = (1 - alpha) * first.double() + alpha * second.double()
    return mixed.to(first.dtype)
