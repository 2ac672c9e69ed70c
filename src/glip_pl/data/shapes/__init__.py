"""The data set `shapes`: scenes of coloured shapes, drawn by this package."""

from glip_pl.data.shapes.builder import ShapesBuilder

__all__ = ["ShapesBuilder"]
