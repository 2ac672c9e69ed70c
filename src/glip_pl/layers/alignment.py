"""The comparison of regions with tokens, S = O·Pᵀ, in the forms that published models have.

See GLIP, Sec. 3.1 (https://arxiv.org/abs/2112.03857).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.precision import at_least_fp32

# Beyond it a logit says nothing more, and float16 would overflow.
MAX_LOGIT = 50_000.0

Scale = Literal["temperature", "root", "none"]
Bias = Literal["tokens", "one", "none"]
# What a box is told by: each token of its phrase by itself, as in GLIP, or the phrase as a whole.
Told = Literal["tokens", "phrases"]


class Alignment(nn.Module):
    """Compare regions with tokens: S = s · O Kᵀ + b.

    Args:
        d_model: Width of the regions.
        d_token: Width of the tokens.
        scale: s is one over a learned temperature, one over √d ("root"), or 1 ("none").
        bias: b is learned: for each token a product with its unit-length features, and a constant
            ("tokens"), or the constant alone ("one"); or there is none.
        projection: Whether the keys K are half the unit-length tokens, projected to `d_model`, as
            in GLIP; or the tokens as they are.
        initial_temperature: Start value of the temperature.
        prior_probability: Alignment that an untrained constant predicts, so that the many negatives
            of the first steps do not swamp the loss (arXiv 1708.02002, Sec. 3.3).

    Raises:
        ValueError: Without projection tokens are as wide as regions.
    """

    def __init__(
        self,
        d_model: int,
        d_token: int,
        *,
        scale: Scale = "temperature",
        bias: Bias = "tokens",
        projection: bool = True,
        initial_temperature: float = 0.1,
        prior_probability: float = 0.01,
    ) -> None:
        super().__init__()
        if not projection and d_model != d_token:
            raise ValueError(
                f"regions are {d_model} wide and tokens {d_token}; project the tokens, or make "
                "both as wide"
            )
        self.divisor = math.sqrt(d_model) if scale == "root" else 1.0
        self.token_projection = nn.Linear(d_token, d_model) if projection else None
        self.token_bias = nn.Parameter(torch.zeros(d_token)) if bias == "tokens" else None
        prior_logit = -math.log((1 - prior_probability) / prior_probability)
        self.prior_bias = nn.Parameter(torch.tensor([prior_logit])) if bias != "none" else None
        start = torch.full((1,), math.log(initial_temperature))
        self.log_temperature = nn.Parameter(start) if scale == "temperature" else None

    def forward(self, regions: Tensor, tokens: Tensor) -> Tensor:
        """Compare regions [B, N, d_model] with tokens [B, M, d_token], to logits [B, N, M]."""
        return self.compare(regions, *self.keys(tokens))

    def keys(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Prepare tokens for any number of comparisons: keys [B, M, d_model] and bias [B, M]."""
        unit = F.normalize(at_least_fp32(tokens), dim=-1).to(tokens.dtype)
        keys = tokens if self.token_projection is None else self.token_projection(unit / 2)
        if self.token_bias is None or self.prior_bias is None:
            return keys, self.prior_bias
        return keys, at_least_fp32(unit) @ self.token_bias + self.prior_bias

    def compare(self, regions: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        """Compare regions [B, N, d] with prepared tokens [B, M, d] and their bias, [B, M].

        Returns:
            Logits S, [B, N, M].
        """
        # S = O (W p̂/2)ᵀ / τ + b·p̂ + b₀, with p̂ the unit-length tokens: GLIP, Sec. 3.1.
        logits = at_least_fp32(regions @ keys.transpose(1, 2)) / self.divisor
        if self.log_temperature is not None:
            logits = logits / self.log_temperature.exp()
        if bias is not None:
            logits = logits + bias[..., None, :]
        return logits.clamp(-MAX_LOGIT, MAX_LOGIT)
