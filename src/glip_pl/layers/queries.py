"""Queries of a decoder: which of them see each other, and how they are picked out of cells."""

import torch.nn.functional as F
from torch import Tensor

from glip_pl.layers.device import all_real


def seen_by(real: Tensor, added: Tensor | None) -> Tensor | None:
    """Mark which query sees which.

    Selected queries see selected ones that propose a box; added ones see these and whom they may.

    Args:
        real: Boolean [B, Q], True where a selected query proposes a box.
        added: Boolean [B, E, E], True where an added query may see another; None where there are
            none.

    Returns:
        Boolean [B, Q + E, Q + E]; None where all see all.
    """
    if added is None and all_real(real):
        return None
    count = 0 if added is None else added.shape[1]
    sees = F.pad(real, (0, count))[:, None].repeat(1, real.shape[1] + count, 1)
    if added is not None:
        sees[:, -count:, -count:] = added
    # A query that sees none would be no number.
    sees.diagonal(dim1=1, dim2=2).fill_(True)
    return sees


def gather(x: Tensor, chosen: Tensor) -> Tensor:
    """Pick rows [B, Q] out of [B, N, d], to [B, Q, d]."""
    return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1]))
