"""The training objective: match regions with boxes, sum the losses of every supervised layer."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

from glip_pl.boxes import inclusive
from glip_pl.head import GroundingOutput
from glip_pl.structures import Target
from glip_pl.training.losses import (
    box_giou_loss,
    box_l1_loss,
    centerness_target,
    token_focal_loss,
    token_target,
)
from glip_pl.training.matching.atss import atss
from glip_pl.training.matching.hungarian import HungarianMatcher


class GroundingCriterion:
    """Turn the head's output and the targets of a batch into unweighted loss terms.

    Terms: ``token`` (focal loss of alignment), ``giou`` and ``l1`` (of the boxes), ``centerness``.
    Each is divided by the number of matched regions over all processes, so that two processes with
    half the batch each see the losses of one.

    Args:
        assignment: The matcher that the fusion plugin asks for.
        inclusive: Measure centerness, the GIoU loss and "inside" as official GLIP does, whose boxes
            end one pixel earlier there while IoU and offsets are the same. The difference is half a
            pixel; it matters for reproducing a published training run only.
    """

    def __init__(
        self, assignment: Literal["atss", "hungarian"], *, inclusive: bool = False
    ) -> None:
        self.assignment = assignment
        self.inclusive = inclusive
        self.hungarian = HungarianMatcher()

    def __call__(
        self, output: GroundingOutput, targets: Sequence[Target], text_mask: Tensor
    ) -> dict[str, Tensor]:
        """Compute the terms, summed over the supervised layers.

        Args:
            output: What the head says.
            targets: One per image; crowds are left out.
            text_mask: Boolean [B, M], True where a token is real.
        """
        boxes = [target.boxes[~target.crowd] for target in targets]
        tokens = [
            (target.shows[~target.crowd].float() @ target.positive_map.float()) > 0
            for target in targets
        ]
        sizes = [target.size for target in targets]
        layers = [
            self._layer(layer, boxes, tokens, sizes, text_mask)
            for layer in (*output.intermediate, output)
        ]
        return {term: torch.stack([layer[term] for layer in layers]).sum() for term in layers[0]}

    def _layer(
        self,
        layer: GroundingOutput,
        boxes: list[Tensor],
        tokens: list[Tensor],
        sizes: list[tuple[int, int]],
        text_mask: Tensor,
    ) -> dict[str, Tensor]:
        matching = self.match(layer, boxes, tokens, sizes)
        matched = matching >= 0
        truth = torch.cat([b[m[m >= 0]] for b, m in zip(boxes, matching, strict=True)])
        predicted = layer.boxes[matched]
        extents = torch.tensor(
            [[width, height] * 2 for height, width in sizes], device=truth.device
        ).repeat_interleave(matched.sum(1), dim=0)
        distance = box_l1_loss(predicted, truth, extents)
        priors = layer.priors[matched]
        if self.inclusive:
            priors, predicted, truth = inclusive(priors), inclusive(predicted), inclusive(truth)
            # A box thinner than a pixel has no inclusive end; it counts as having no width.
            predicted = torch.cat(
                [predicted[:, :2], torch.maximum(predicted[:, :2], predicted[:, 2:])], dim=-1
            )
        if self.assignment == "atss":
            # Boxes predicted from the middle of an object count more, as in GLIP and FCOS.
            centerness = centerness_target(priors, truth)
            weight = centerness
        else:
            # A query has no place of its own: how well it fits takes the role of how central it is.
            centerness = box_iou(predicted.detach(), truth).diagonal()
            weight = torch.ones_like(centerness)
        count, weights = _mean_over_processes(matched.sum().float(), weight.sum())
        count, weights = count.clamp(min=1), weights.clamp(min=1e-6)
        target = token_target(matching, tokens)
        quality = torch.nn.functional.binary_cross_entropy_with_logits(
            layer.centerness[matched], centerness, reduction="sum"
        )
        return {
            "token": token_focal_loss(layer.logits, target, text_mask) / count,
            "giou": (box_giou_loss(predicted, truth) * weight).sum() / weights,
            "l1": (distance * weight).sum() / weights,
            "centerness": quality / count,
        }

    def match(
        self,
        layer: GroundingOutput,
        boxes: list[Tensor],
        tokens: list[Tensor],
        sizes: list[tuple[int, int]],
    ) -> Tensor:
        """Pair the regions of a layer with boxes.

        Args:
            layer: What the head says of the regions.
            boxes: Per image, [G, 4], xyxy pixels.
            tokens: Per image, Boolean [G, M], True where box g shows token m.
            sizes: Per image, (height, width) inside the padding.

        Returns:
            The index of the box that each region takes, [B, N], -1 for none.
        """
        if self.assignment == "atss":
            # Inclusive ends move the centre and the far side by half a pixel towards each other.
            margin = 0.51 if self.inclusive else 0.01
            rows = [
                atss(priors, layer.level_sizes, truth, margin=margin)
                for priors, truth in zip(layer.priors, boxes, strict=True)
            ]
        else:
            rows = [
                self.hungarian(layer.logits[b], layer.boxes[b], boxes[b], tokens[b], sizes[b])
                for b in range(len(boxes))
            ]
        return torch.stack(rows)


def _mean_over_processes(*values: Tensor) -> list[Tensor]:
    """Average over processes, so that gradients averaged by DDP are those of the whole batch."""
    stacked = torch.stack([value.detach() for value in values])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(stacked)
        stacked /= torch.distributed.get_world_size()
    return list(stacked)
