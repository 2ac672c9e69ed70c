"""The Grounding DINO family in the form of transformers: sizes, names, and the way both ways."""

from glip_pl.weights.transformers_form.architecture import DinoArchitecture
from glip_pl.weights.transformers_form.conversion import from_transformers, to_transformers

__all__ = ["DinoArchitecture", "from_transformers", "to_transformers"]
