"""Blending: the weights between two models, which often keep the best of both."""

from glip_pl.blending.blend import blend_states

__all__ = ["blend_states"]
