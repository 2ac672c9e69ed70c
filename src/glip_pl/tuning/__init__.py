"""Tuning: what of a model learns, what is added to it for that, and how it keeps what it knew."""

from glip_pl.tuning.lora import LoraSettings
from glip_pl.tuning.modes import Mode, Tuning

__all__ = ["LoraSettings", "Mode", "Tuning"]
