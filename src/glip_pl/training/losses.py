"""The loss terms: alignment of regions and tokens, and boxes.

Which region takes which box is decided before (`glip_pl.matching`), and by how much a
term is divided after (`glip_pl.training.criterion`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glip_pl.boxes import generalized_box_iou_loss, to_cxcywh
from glip_pl.layers.precision import at_least_fp32


@dataclass(frozen=True)
class LossWeights:
    """What each term is multiplied by before all are summed up; one of 0 is left out."""

    token: float = 1.0
    giou: float = 2.0
    l1: float = 0.0
    centerness: float = 1.0

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weigh and sum the terms that a criterion returns, each a scalar, to one."""
        weights = asdict(self)
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def counted(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms that weigh anything, each a scalar."""
        weights = asdict(self)
        return {name: term for name, term in terms.items() if weights[name]}


def token_focal_loss(
    logits: Tensor, target: Tensor, mask: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Sigmoid focal loss of region-token alignment, summed (GLIP, Sec. 3.1; arXiv 1708.02002).

    Args:
        logits: S, [B, N, M].
        target: T, Boolean [B, N, M].
        mask: Boolean [B, N, M], or [B, 1, M] for all regions alike: True where a pair is judged.
            Special tokens and separators count as negatives.
        alpha: Weight of positives; negatives have 1 - alpha.
        gamma: How strongly well-classified pairs are passed over.
    """
    logits = at_least_fp32(logits)
    truth = target.to(logits.dtype)
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = probability + truth - 2 * probability * truth  # 1 - p_t
    weight = (1 - alpha) + (2 * alpha - 1) * truth
    loss = weight * wrong**gamma * cross_entropy
    return (loss * mask).sum()


def box_l1_loss(predicted: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
    """L1 distance of centres and sizes in units of the image, [P] (DETR, arXiv 2005.12872, Eq. 9).

    Args:
        predicted: [P, 4], xyxy pixels.
        boxes: [P, 4], xyxy pixels.
        sizes: [P, 4], width and height of each box's image, twice.
    """
    return ((to_cxcywh(predicted) - to_cxcywh(boxes)) / sizes).abs().sum(-1)


def box_giou_loss(predicted: Tensor, boxes: Tensor) -> Tensor:
    """One minus generalised IoU, [P] (arXiv 1902.09630)."""
    loss: Tensor = generalized_box_iou_loss(predicted, boxes)
    return loss


def token_target(matching: Tensor, box_tokens: Sequence[Tensor]) -> Tensor:
    """Return for each region the tokens of its box: T of the grounding loss.

    Args:
        matching: [B, N], index of each region's box, -1 for none.
        box_tokens: Per image, Boolean [G, M], True where box g shows token m.

    Returns:
        Boolean [B, N, M]; a region without a box has no positive token.
    """
    rows = []
    for taken, tokens in zip(matching, box_tokens, strict=True):
        none = tokens.new_zeros(1, tokens.shape[-1])
        rows.append(torch.cat([tokens, none])[taken])  # -1 picks the last row.
    return torch.stack(rows)
