"""The shared grounding head: S = O·Pᵀ, box offsets and centerness, the same for every plugin.

Regions O and tokens P come from a fusion plugin. The head owns everything that follows: the token
projection, temperature and prior bias, the offset from prior to box, and how central a region is.
See GLIP, Sec. 3.1 (https://arxiv.org/abs/2112.03857).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.boxes import decode
from glip_pl.fusion import FusionOutput
from glip_pl.layers.precision import at_least_fp32

# Beyond it a logit says nothing more, and float16 would overflow.
MAX_LOGIT = 50_000.0


@dataclass(frozen=True)
class GroundingOutput:
    """What the head says of one layer of regions.

    Attributes:
        logits: S, [B, N, M], alignment of region and token before the sigmoid.
        boxes: [B, N, 4], xyxy pixels of the padded input, not clipped.
        centerness: [B, N], before the sigmoid.
        priors: [B, N, 4], the boxes that the offsets started from.
        level_sizes: Regions per pyramid level; they sum to N.
        intermediate: The same for earlier layers, first to last.
    """

    logits: Tensor
    boxes: Tensor
    centerness: Tensor
    priors: Tensor
    level_sizes: tuple[int, ...]
    intermediate: tuple["GroundingOutput", ...] = ()


class GroundingHead(nn.Module):
    """Compare regions with tokens and place their boxes.

    Args:
        d_model: Width of the regions.
        d_token: Width of the tokens.
        num_levels: Pyramid levels; each has its own scale of the box offsets.
        initial_temperature: Start value of τ. GLIP starts from 1; a lower one lets alignment grow
            faster where regions and words are learned from scratch.
        initial_box_scale: Start value of the levels' scales. GLIP starts from 1; offsets, in tenths
            of an anchor, then take hundreds of steps to reach the size that they need.
        prior_probability: Alignment that an untrained head predicts, so that the many negatives of
            the first steps do not swamp the loss (arXiv 1708.02002, Sec. 3.3).
    """

    def __init__(
        self,
        d_model: int,
        d_token: int,
        *,
        num_levels: int = 5,
        initial_temperature: float = 0.1,
        initial_box_scale: float = 8.0,
        prior_probability: float = 0.01,
    ) -> None:
        super().__init__()
        self.token_projection = nn.Linear(d_token, d_model)
        self.token_bias = nn.Parameter(torch.zeros(d_token))
        prior_logit = -math.log((1 - prior_probability) / prior_probability)
        self.prior_bias = nn.Parameter(torch.tensor([prior_logit]))
        self.log_temperature = nn.Parameter(torch.full((1,), math.log(initial_temperature)))
        self.box_offset = nn.Linear(d_model, 4)
        self.level_scale = nn.Parameter(torch.full((num_levels,), initial_box_scale))
        self.centerness = nn.Linear(d_model, 1)
        for dense in (self.box_offset, self.centerness):
            nn.init.normal_(dense.weight, std=0.01)
            nn.init.zeros_(dense.bias)

    def forward(self, fused: FusionOutput) -> GroundingOutput:
        """Compare every layer of regions with the tokens."""
        unit = F.normalize(at_least_fp32(fused.tokens), dim=-1).to(fused.tokens.dtype)
        keys = self.token_projection(unit / 2)  # [B, M, d]
        bias = at_least_fp32(unit) @ self.token_bias + self.prior_bias  # [B, M]
        last, *earlier = (
            self._compare(regions, keys, bias, fused)
            for regions in (fused.regions, *fused.intermediate)
        )
        return GroundingOutput(
            last.logits, last.boxes, last.centerness, last.priors, last.level_sizes, tuple(earlier)
        )

    def _compare(
        self, regions: Tensor, keys: Tensor, bias: Tensor, fused: FusionOutput
    ) -> GroundingOutput:
        # S = O (W p̂/2)ᵀ / τ + b·p̂ + b₀, with p̂ the unit-length tokens: GLIP, Sec. 3.1.
        logits = at_least_fp32(regions @ keys.transpose(1, 2)) / self.log_temperature.exp()
        logits = (logits + bias[:, None]).clamp(-MAX_LOGIT, MAX_LOGIT)
        sizes = torch.tensor(fused.level_sizes, device=regions.device)
        scale = self.level_scale[: len(sizes)].repeat_interleave(sizes)  # [N]
        # Boxes and scores are computed in fp32: bf16 places no box better than a few pixels.
        offsets = at_least_fp32(self.box_offset(regions)) * scale[:, None]
        boxes = decode(fused.priors, offsets)
        centerness = at_least_fp32(self.centerness(regions)).squeeze(-1)
        return GroundingOutput(logits, boxes, centerness, fused.priors, fused.level_sizes)
