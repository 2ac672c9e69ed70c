"""Audit: how much of a score hangs on how the prompt is written."""

from glip_pl.audit.variants import Variant, variants_of

__all__ = ["Variant", "variants_of"]
