"""Weights: reading them from any source, what they describe, and the way to official GLIP."""

from glip_pl.weights.about import About
from glip_pl.weights.folder import write_folder
from glip_pl.weights.reader import convert_official, read_weights
from glip_pl.weights.weights import Weights, hashes

__all__ = ["About", "Weights", "convert_official", "hashes", "read_weights", "write_folder"]
