"""ODinW, "object detection in the wild": one model on many small data sets."""

from glip_pl.commands.odinw import odinw, run_odinw

__all__ = ["odinw", "run_odinw"]
