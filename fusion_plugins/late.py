"""Late fusion: image and text meet only in the head (GLIP-T (A); GLIP, Sec. 3.1)."""

from torch import nn

from glip_pl.fusion import FusionOutput, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.layers.anchors import cell_anchors
from glip_pl.layers.dyhead import DyHeadBlock
from glip_pl.layers.pyramid import flatten
from glip_pl.layers.recompute import run_layer


class LateFusion(FusionPlugin):
    """A tower of DyHead blocks over the image; the text is used as the encoder left it.

    All the work lies in `prepare_image`, so a new vocabulary costs one matrix product.

    Args:
        d_model: Width of the pyramid.
        d_text: Width of the text features.
        num_layers: DyHead blocks; GLIP has 6 (T) or 8 (L).
        anchor_scale: Side of an anchor in cells of its level.
        still_start: See `DyHeadBlock`.
        checkpoint_layers: Compute each layer again in the backward pass, to save memory.
    """

    def __init__(
        self,
        *,
        d_model: int,
        d_text: int,
        num_layers: int = 6,
        anchor_scale: float = 8.0,
        still_start: bool = False,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__()
        self.d_token = d_text
        self.anchor_scale = anchor_scale
        self.checkpoint_layers = checkpoint_layers
        self.tower = nn.ModuleList(
            DyHeadBlock(d_model, still_start=still_start) for _ in range(num_layers)
        )

    def prepare_image(self, image: PyramidFeatures) -> PyramidFeatures:
        """Run the whole tower: none of it needs the text."""
        levels = image.levels
        for block in self.tower:
            levels = run_layer(block, levels, recompute=self.checkpoint_layers)
        return PyramidFeatures(levels, image.strides, image.mask)

    def forward(self, image: PyramidFeatures, text: TextFeatures) -> FusionOutput:
        """Hand cells and tokens to the head as they are."""
        regions, level_sizes = flatten(image.levels)
        priors = cell_anchors(image.levels, image.strides, self.anchor_scale)
        tokens = text.hidden * text.mask[..., None]
        return FusionOutput(regions, tokens, priors.expand(regions.shape[0], -1, -1), level_sizes)
