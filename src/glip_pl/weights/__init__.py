"""Weights: reading them from any source, what they describe, and the way to official GLIP."""

from glip_pl.weights.reader import Weights, convert_official, hashes, read_run, read_weights

__all__ = ["Weights", "convert_official", "hashes", "read_run", "read_weights"]
