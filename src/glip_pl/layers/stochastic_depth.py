"""Stochastic depth: a branch beside a residual is left out of some images in training.

See https://arxiv.org/abs/1603.09382.
"""

from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Drop whole rows of a batch, and scale the others so that the mean stays.

    Args:
        probability: Of dropping a row.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop rows of [B, ...]; in evaluation nothing happens."""
        if not self.training or self.probability == 0:
            return x
        kept = 1 - self.probability
        noise = x.new_empty([len(x)] + [1] * (x.ndim - 1)).bernoulli_(kept)
        return x * (noise.div_(kept) if kept else noise)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"{self.probability}"
