"""Denoising: extra queries that start from true boxes with noise, so that nothing need be matched.

Early in training a query takes another box at every step, and learns little of where boxes lie. Of
a noisy query it is known which box it should return to, or, where the noise is strong, that it
should return to none. See DN-DETR (https://arxiv.org/abs/2203.01305) and DINO, Sec. 3.3
(https://arxiv.org/abs/2203.03605).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glip_pl.fusion import ExtraQueries
from glip_pl.matching import Objects
from glip_pl.structures import Truth

# Rows of labels; names of a prompt beyond them begin again with the first.
_LABELS = 256


@dataclass(frozen=True)
class DenoisingSettings:
    """How much noise there is.

    Attributes:
        pairs: About how many pairs of queries an image gets, one with little noise and one with
            much. Its boxes are repeated in groups that do not see each other, at least once.
        box_noise: How far the sides of a box move at most, in half widths and heights of the box; a
            query with much noise moves farther than this, and at most twice as far.
        label_noise: Share of queries that are given the name of another phrase.
    """

    pairs: int = 100
    box_noise: float = 1.0
    label_noise: float = 0.25


@dataclass(frozen=True)
class NoisyQueries:
    """Extra queries, and what they should become.

    Attributes:
        queries: What the plugin is given.
        matching: The box of its image that each query returns to, [B, E]; -1 for none.
    """

    queries: ExtraQueries
    matching: Tensor


class Denoising(nn.Module):
    """Make noisy queries of true boxes.

    Args:
        d_model: Width of the queries.
        settings: How much noise there is.
    """

    def __init__(self, d_model: int, settings: DenoisingSettings) -> None:
        super().__init__()
        self.settings = settings
        # What a query knows of its name: which of the prompt it is.
        self.label = nn.Embedding(_LABELS, d_model)

    def forward(self, objects: Sequence[Objects], truths: Sequence[Truth]) -> NoisyQueries:
        """Make the queries of a batch.

        Args:
            objects: The boxes that can be learned, per image; see `GroundingCriterion.objects`.
            truths: Which names they show.

        Returns:
            E = groups · 2 · G queries per image, where G is the most boxes of an image: in each
            group first those with little noise, then those with much.
        """
        device, most = objects[0].boxes.device, max(1, *(len(own.boxes) for own in objects))
        groups = max(1, self.settings.pairs // most)
        batch = len(objects)
        sizes = torch.tensor([[w, h] * 2 for h, w in (o.size for o in objects)], device=device)
        boxes = torch.zeros(batch, most, 4, device=device)  # Padding queries see and teach nothing.
        taken = torch.full((batch, most), -1, device=device)
        names = torch.zeros(batch, most, dtype=torch.long, device=device)
        for i, (own, truth) in enumerate(zip(objects, truths, strict=True)):
            count = len(own.boxes)
            boxes[i, :count] = own.boxes
            taken[i, :count] = torch.arange(count, device=device)
            if truth.shows.numel():
                names[i, :count] = truth.shows[~truth.crowd].int().argmax(1)
        asked = torch.tensor([max(1, truth.shows.shape[1]) for truth in truths], device=device)

        names = names[:, None, None].expand(-1, groups, 2, -1)
        names = noisy_names(names, asked, share=self.settings.label_noise)
        moved = noisy_boxes(boxes, groups, sizes, self.settings.box_noise)
        real = (taken >= 0)[:, None, None].expand(-1, groups, 2, -1).flatten(1)
        matching = taken[:, None, None].repeat(1, groups, 2, 1)
        matching[:, :, 1] = -1
        group = torch.arange(groups, device=device).repeat_interleave(2 * most)
        queries = ExtraQueries(
            contents=self.label(names.flatten(1) % _LABELS),
            boxes=moved.flatten(1, 3),
            sees=(group[:, None] == group) & real[:, None],
            mask=real,
        )
        return NoisyQueries(queries, matching.flatten(1))


def noisy_boxes(boxes: Tensor, groups: int, sizes: Tensor, noise: float) -> Tensor:
    """Move the sides of boxes.

    Args:
        boxes: [B, G, 4], xyxy pixels.
        groups: How often.
        sizes: Width and height of the images in pixels, twice, [B, 4].
        noise: See `DenoisingSettings.box_noise`.

    Returns:
        [B, groups, 2, G, 4]: each box with little noise and with much, inside its image. Sides that
        would pass each other meet halfway.
    """
    extent = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)[:, None, None]
    share = torch.rand(len(boxes), groups, 2, *boxes.shape[1:], device=boxes.device)
    share[:, :, 1] += 1
    sign = torch.randint_like(share, 2) * 2 - 1
    moved = boxes[:, None, None] + sign * share * extent * (noise / 2)
    moved = torch.minimum(moved.clamp(min=0), sizes[:, None, None, None])
    start, end = moved[..., :2], moved[..., 2:]
    middle = (start + end) / 2
    return torch.cat([torch.minimum(start, middle), torch.maximum(end, middle)], dim=-1)


def noisy_names(names: Tensor, asked: Tensor, *, share: float) -> Tensor:
    """Replace a share of names [B, ...] by any of the `asked` names [B] of their image."""
    count = asked.view(-1, *[1] * (names.ndim - 1))
    other = (torch.rand(names.shape, device=names.device) * count).long()
    replaced = torch.rand(names.shape, device=names.device) < share
    return torch.where(replaced, other, names)
