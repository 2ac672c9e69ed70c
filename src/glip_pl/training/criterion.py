"""The training objective: match regions with boxes, sum the losses of every supervised layer."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glip_pl.boxes import inclusive
from glip_pl.head import GroundingOutput
from glip_pl.matching import Matcher, Objects, Regions
from glip_pl.structures import Question, Truth
from glip_pl.training.losses import box_giou_loss, box_l1_loss, token_focal_loss, token_target


class GroundingCriterion:
    """Turn the head's output, the questions and the truths of a batch into unweighted loss terms.

    Terms: ``token`` (focal loss of alignment, of tokens or of whole phrases), ``giou`` and ``l1``
    (of the boxes), and ``centerness`` where the head measures it.
    Each is divided by the number of matched regions over all processes, so that two processes with
    half the batch each see the losses of one.

    Regions whose box is known beforehand need no matcher: they are given with their matching.

    Args:
        matcher: Pairs regions with boxes; see `FusionPlugin.make_matcher`.

    A region in a crowd is no negative for what the crowd shows: nobody knows whether it has it.

    Attributes:
        inset: Pixels by which a box is smaller on each side where "inside" is asked.
        spares_crowds: Whether crowds spare regions, as said; else they are as if not there.
    """

    inset = 0.0
    spares_crowds = True

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def __call__(
        self,
        output: GroundingOutput,
        questions: Sequence[Question],
        truths: Sequence[Truth],
        text_mask: Tensor,
        *,
        matching: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the terms, summed over the supervised layers.

        Args:
            output: What the head says.
            questions: One per image, for the positive maps and sizes.
            truths: One per image; crowds are no boxes to take.
            text_mask: Boolean [B, M], True where a token is real.
            matching: The box that each region takes in every layer, [B, N], -1 for none, where it
                is known beforehand; by default the matcher finds it layer by layer.
        """
        objects = self.objects(questions, truths)
        if output.told == "phrases":
            output, text_mask = compare_phrases(output, questions)
            objects = _showing_phrases(objects, truths, text_mask)
        layers = [
            self.terms(
                *(layer, self.match(layer, objects) if matching is None else matching),
                *(objects, text_mask),
            )
            for layer in (*output.intermediate, output)
        ]
        return {term: torch.stack([layer[term] for layer in layers]).sum() for term in layers[0]}

    def objects(self, questions: Sequence[Question], truths: Sequence[Truth]) -> list[Objects]:
        """Return the boxes of each image that can be learned, and its crowds apart."""
        found = []
        for question, truth in zip(questions, truths, strict=True):
            tokens = (truth.shows.float() @ question.positive_map.float()) > 0
            single, crowd = ~truth.crowd, truth.crowd & self.spares_crowds
            found.append(
                Objects(
                    *(truth.boxes[single], tokens[single], question.size, self.inset),
                    crowds=truth.boxes[crowd],
                    crowd_tokens=tokens[crowd],
                )
            )
        return found

    def match(self, layer: GroundingOutput, objects: Sequence[Objects]) -> Tensor:
        """Pair the regions of a layer with boxes.

        Returns:
            The index of the box that each region takes, [B, N], -1 for none.
        """
        images = zip(layer.logits, layer.boxes, layer.priors, strict=True)
        return torch.stack(
            [
                self.matcher.match(Regions(*regions, layer.level_sizes), own)
                for regions, own in zip(images, objects, strict=True)
            ]
        )

    def terms(
        self,
        layer: GroundingOutput,
        matching: Tensor,
        objects: Sequence[Objects],
        text_mask: Tensor,
    ) -> dict[str, Tensor]:
        """Compute the terms of one layer.

        Args:
            layer: What the head says of its regions.
            matching: The box that each region takes, [B, N], -1 for none.
            objects: The boxes, per image.
            text_mask: Boolean [B, M], True where a token is real.
        """
        matched = matching >= 0
        truth = torch.cat([own.boxes[m[m >= 0]] for own, m in zip(objects, matching, strict=True)])
        predicted, priors = layer.boxes[matched], layer.priors[matched]
        extents = torch.tensor(
            [[width, height] * 2 for height, width in (own.size for own in objects)],
            device=truth.device,
        ).repeat_interleave(matched.sum(1), dim=0)
        distance = box_l1_loss(predicted, truth, extents)
        priors, predicted, truth = self.framed(priors, predicted, truth)
        centerness = self.matcher.centerness(priors, predicted, truth)
        weight = self.matcher.weights(centerness)
        count, weights = _mean_over_processes(matched.sum().float(), weight.sum())
        count, weights = count.clamp(min=1), weights.clamp(min=1e-6)
        wanted = token_target(matching, [own.tokens for own in objects])
        judged = _judged(layer.boxes.detach(), matching, objects, text_mask)
        terms = {
            "token": token_focal_loss(layer.logits, wanted, judged) / count,
            "giou": (box_giou_loss(predicted, truth) * weight).sum() / weights,
            "l1": (distance * weight).sum() / weights,
        }
        if layer.centerness is not None:
            quality = torch.nn.functional.binary_cross_entropy_with_logits(
                layer.centerness[matched], centerness, reduction="sum"
            )
            terms["centerness"] = quality / count
        return terms

    def framed(
        self, priors: Tensor, predicted: Tensor, truth: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes [R, 4] as centerness and the GIoU loss measure them."""
        return priors, predicted, truth


class InclusiveCriterion(GroundingCriterion):
    """Measure centerness, the GIoU loss and "inside" as official GLIP does.

    Its boxes end one pixel earlier there, while IoU and offsets are the same. The difference is
    half a pixel; it matters for reproducing a published training run only.
    """

    spares_crowds = False
    # Inclusive ends move the centre and the far side by half a pixel towards each other.
    inset = 0.5

    def framed(
        self, priors: Tensor, predicted: Tensor, truth: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `GroundingCriterion`."""
        predicted = inclusive(predicted)
        start, end = predicted[:, :2], predicted[:, 2:]
        # A box thinner than a pixel has no inclusive end; it counts as having no width.
        predicted = torch.cat([start, torch.maximum(start, end)], dim=-1)
        return inclusive(priors), predicted, inclusive(truth)


def compare_phrases(
    output: GroundingOutput, questions: Sequence[Question]
) -> tuple[GroundingOutput, Tensor]:
    """Put phrases in the place of tokens: a phrase's logit is the weighted mean of its tokens'.

    Returns:
        The output with logits [B, N, K], K that of the most phrases, and which are real, [B, K].
    """
    weights = pad_sequence([question.weights for question in questions], batch_first=True)
    real = pad_sequence([question.positive_map.any(-1) for question in questions], batch_first=True)
    layers = [
        replace(layer, logits=layer.logits.float() @ weights.transpose(1, 2))
        for layer in (*output.intermediate, output)
    ]
    return replace(layers[-1], intermediate=tuple(layers[:-1])), real


def _showing_phrases(
    objects: Sequence[Objects], truths: Sequence[Truth], real: Tensor
) -> list[Objects]:
    """Return for every box and crowd which phrases it shows, in the place of tokens."""
    showing = []
    for own, truth, row in zip(objects, truths, real, strict=True):
        shows = F.pad(truth.shows, (0, len(row) - truth.shows.shape[1])) & row
        crowds = None if own.crowds is None else shows[truth.crowd][: len(own.crowds)]
        showing.append(replace(own, tokens=shows[~truth.crowd], crowd_tokens=crowds))
    return showing


def _judged(
    boxes: Tensor, matching: Tensor, objects: Sequence[Objects], text_mask: Tensor
) -> Tensor:
    """Return which pairs of regions and tokens count: not those that a crowd may make right.

    Args:
        boxes: Of the regions, [B, N, 4], xyxy pixels.
        matching: The box that each region takes, [B, N], -1 for none.
        objects: Crowds, per image.
        text_mask: Boolean [B, M], True where a token is real.

    Returns:
        Boolean [B, N, M]; [B, 1, M] where no image has a crowd.
    """
    real = text_mask[:, None]
    if not any(own.crowds is not None and len(own.crowds) for own in objects):
        return real
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    spared = []
    for center, own in zip(centers, objects, strict=True):
        if own.crowds is None or own.crowd_tokens is None:
            spared.append(real.new_zeros(len(center), real.shape[-1]))
            continue
        after = (center[:, None] >= own.crowds[:, :2]).all(-1)
        inside = after & (center[:, None] <= own.crowds[:, 2:]).all(-1)
        spared.append((inside.float() @ own.crowd_tokens.float()) > 0)
    free = matching[..., None] < 0  # What is matched is known to be right.
    return real & ~(torch.stack(spared) & free)


def _mean_over_processes(*values: Tensor) -> list[Tensor]:
    """Average over processes, so that gradients averaged by DDP are those of the whole batch."""
    stacked = torch.stack([value.detach() for value in values])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(stacked)
        stacked /= torch.distributed.get_world_size()
    return list(stacked)
