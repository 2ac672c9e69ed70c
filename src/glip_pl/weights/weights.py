"""A model's description, its parameters, and what else is known of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from glip_pl.model import GLIP
from glip_pl.weights.about import About
from glip_pl.weights.loading import load_into
from glip_pl.weights.network import build_network


@dataclass(frozen=True)
class Weights:
    """A model's description and its parameters.

    Attributes:
        hyper_parameters: The arguments of `GroundingTask`, classes as ``class_path`` and
            ``init_args``.
        state: The state dict of `GLIP`.
        source: Where they come from, as the user wrote it.
        about: Names, thresholds and image sizes.
    """

    hyper_parameters: dict[str, Any]
    state: dict[str, Tensor]
    source: str = "these weights"
    about: About = field(default_factory=About)

    def build(self, *, trust: Sequence[str] = ()) -> GLIP:
        """Build the network with these weights, in evaluation mode.

        Raises:
            ValueError: A class is not allowed, or the weights do not fit the description.
        """
        network = build_network(self.hyper_parameters, trust=trust)
        self.give(network)
        return network

    def give(self, model: GLIP, *, new: Sequence[str] = ()) -> list[str]:
        """Load the parameters into a model; see `load_into`."""
        return load_into(model, self.state, self.source, new)

    def digest(self) -> str:
        """SHA-256 over names and numbers: two models with the same digest find the same."""
        lines = (f"{name} {value}\n" for name, value in sorted(hashes(self.state).items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def hashes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 of the bytes of each tensor."""
    return {name: _hash(value) for name, value in state.items()}


def _hash(value: Tensor) -> str:
    """Hash the bytes of a tensor of any type, bfloat16 included."""
    return hashlib.sha256(value.contiguous().flatten().view(torch.uint8).numpy().data).hexdigest()
