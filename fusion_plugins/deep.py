"""Deep fusion: image and text exchange features in every layer.

GLIP-T (B) and up; GLIP, Sec. 3.2.
"""

from torch import Tensor, nn

from glip_pl.fusion import FusionOutput, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.layers.anchors import cell_anchors
from glip_pl.layers.attention import BiAttention
from glip_pl.layers.bert import BertLayer
from glip_pl.layers.dyhead import DyHeadBlock
from glip_pl.layers.pyramid import flatten, unflatten
from glip_pl.layers.recompute import run_layer


class DeepFusion(FusionPlugin):
    """L layers of cross-attention both ways, each with a BERT layer and a DyHead block after it.

    The BERT layer is for the text, the DyHead block for the image.

    Args:
        d_model: Width of the pyramid.
        d_text: Width of the text features.
        num_layers: L; GLIP has 6 (T) or 8 (L).
        num_heads: Heads of the attention between image and text, each `d_model` wide as in GLIP.
        dropout: Dropout of both.
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
        num_heads: int = 8,
        dropout: float = 0.1,
        anchor_scale: float = 8.0,
        still_start: bool = False,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__()
        self.d_token = d_text
        self.anchor_scale = anchor_scale
        self.checkpoint_layers = checkpoint_layers
        self.exchange = nn.ModuleList(
            BiAttention(
                d_model,
                d_text,
                d_attention=num_heads * d_model,
                num_heads=num_heads,
                dropout=dropout,
                init_gate=1 / num_layers,
            )
            for _ in range(num_layers)
        )
        self.text_tower = nn.ModuleList(
            # BERT's heads are 64 wide at every size.
            BertLayer(d_text, num_heads=max(d_text // 64, 1), dropout=dropout)
            for _ in range(num_layers)
        )
        self.tower = nn.ModuleList(
            DyHeadBlock(d_model, still_start=still_start) for _ in range(num_layers)
        )

    def forward(self, image: PyramidFeatures, text: TextFeatures) -> FusionOutput:
        """Exchange, then let each side think for itself, L times."""
        levels, tokens = image.levels, text.hidden
        for layer in zip(self.exchange, self.text_tower, self.tower, strict=True):
            levels, tokens = run_layer(
                self._layer, layer, levels, tokens, text.mask, recompute=self.checkpoint_layers
            )
        regions, level_sizes = flatten(levels)
        priors = cell_anchors(levels, image.strides, self.anchor_scale)
        return FusionOutput(regions, tokens, priors.expand(regions.shape[0], -1, -1), level_sizes)

    def _layer(
        self,
        layer: tuple[nn.Module, nn.Module, nn.Module],
        levels: tuple[Tensor, ...],
        tokens: Tensor,
        mask: Tensor,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        exchange, text_layer, block = layer
        cells, tokens = exchange(flatten(levels)[0], tokens, mask)
        return block(unflatten(cells, levels)), text_layer(tokens, mask)
