"""Query fusion: object queries that read the text and then search the image, as in DETR.

Deep fusion labels every cell of a pyramid; here a small set of queries is decoded. Each has a
learned content, a learned box and the mean of the text, and in every decoder layer it looks at the
other queries, at the tokens and at the cells. The head starts from its learned box. Hungarian
matching gives each object one query, so there are no duplicates to remove.

Sources: DETR (https://arxiv.org/abs/2005.12872) for set prediction, DAB-DETR
(https://arxiv.org/abs/2201.12329) for queries that are boxes, Conditional DETR
(https://arxiv.org/abs/2108.06152) for the attention, Grounding DINO
(https://arxiv.org/abs/2303.05499) for text in the decoder.
"""

import torch
from torch import Tensor, nn

from glip_pl.boxes import to_xyxy
from glip_pl.fusion import FusionOutput, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.layers.positions import cell_centres, cell_mask, real_size, sine_embedding
from glip_pl.layers.pyramid import flatten, unflatten
from glip_pl.layers.recompute import run_layer
from glip_pl.layers.transformer import DecoderLayer, EncoderLayer, Memory
from glip_pl.matching import HungarianMatcher, Matcher


class QueryFusion(FusionPlugin):
    """Text-conditioned object queries.

    Args:
        d_model: Width of regions and pyramid, a multiple of 4.
        d_text: Width of the text encoder; the tokens are its own.
        num_queries: Regions per image, the most boxes that can be found.
        num_layers: Self-attention layers over the cells, run once per image, and as many layers
            over the queries, run for every prompt; each of the latter is supervised.
        num_heads: Attention heads, a divisor of d_model.
        d_feedforward: Hidden width of the feed-forward networks, 8 · d_model by default.
        dropout: Probability within every layer.
        num_levels: Pyramid levels to use at most, the coarsest ones.
        min_stride: Pixels per cell of the finest level to use; finer ones have too many cells for
            attention between all of them.
        checkpoint_layers: Compute each layer again in the backward pass, to save memory.
    """

    def __init__(
        self,
        *,
        d_model: int,
        d_text: int,
        num_layers: int = 6,
        num_queries: int = 100,
        num_heads: int = 8,
        d_feedforward: int | None = None,
        dropout: float = 0.1,
        num_levels: int = 4,
        min_stride: int = 16,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__()
        if d_model % 4:
            raise ValueError(
                f"d_model is {d_model}; a query needs a sine and a cosine for x and for y, "
                "so choose a multiple of 4"
            )
        hidden = d_feedforward or 8 * d_model
        self.d_token = d_text
        self.d_model = d_model
        self.num_levels = num_levels
        self.min_stride = min_stride
        self.checkpoint_layers = checkpoint_layers
        self.level_embedding = nn.Embedding(num_levels, d_model)
        self.encoder = nn.ModuleList(
            EncoderLayer(d_model, num_heads, hidden, dropout=dropout) for _ in range(num_layers)
        )
        self.encoder_norm = nn.LayerNorm(d_model)
        self.project_text = nn.Linear(d_text, d_model)
        self.content = nn.Embedding(num_queries, d_model)
        self.reference = nn.Parameter(grid_boxes(num_queries).logit())
        self.box_position = nn.Sequential(
            nn.Linear(2 * d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model)
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(d_model, num_heads, hidden, dropout=dropout) for _ in range(num_layers)
        )
        self.decoder_norm = nn.LayerNorm(d_model)

    def make_matcher(self) -> Matcher:
        """Match queries as a set."""
        return HungarianMatcher()

    def prepare_image(self, image: PyramidFeatures) -> PyramidFeatures:
        """Encode the coarse levels; the finer ones are dropped.

        Raises:
            ValueError: Every level is finer than `min_stride`.
        """
        image = self._coarse(image)
        cells, _ = flatten(image.levels)
        position, mask = self._cell_positions(image), _cell_masks(image)
        for layer in self.encoder:
            cells = run_layer(layer, cells, position, mask, recompute=self.checkpoint_layers)
        levels = unflatten(self.encoder_norm(cells), image.levels)
        return PyramidFeatures(levels, image.strides, image.mask)

    def forward(self, image: PyramidFeatures, text: TextFeatures) -> FusionOutput:
        """Decode the queries for one prompt."""
        cells = Memory(flatten(image.levels)[0], _cell_masks(image))
        cell_position = self._cell_positions(image)
        tokens = Memory(self.project_text(text.hidden), text.mask)

        boxes = self.reference.sigmoid()  # (cx, cy, w, h) in fractions of the real image, [Q, 4].
        box_position = self.box_position(sine_embedding(boxes, self.d_model // 2))
        centre = sine_embedding(boxes[:, :2], self.d_model // 2)
        queries = self.content.weight + _masked_mean(tokens)[:, None]
        regions = []
        for layer in self.decoder:
            queries = run_layer(
                *(layer, queries, box_position, centre, tokens, cells, cell_position),
                recompute=self.checkpoint_layers,
            )
            regions.append(self.decoder_norm(queries))

        size = real_size(image.mask).repeat(1, 2)[:, None]  # [B, 1, 4]
        return FusionOutput(
            regions=regions[-1],
            tokens=text.hidden,
            priors=to_xyxy(boxes) * size,
            level_sizes=(len(boxes),),
            intermediate=tuple(regions[:-1]),
        )

    def _coarse(self, image: PyramidFeatures) -> PyramidFeatures:
        """Keep the levels that are coarse enough."""
        kept = [i for i, stride in enumerate(image.strides) if stride >= self.min_stride]
        if not kept:
            raise ValueError(
                f"the pyramid has strides {image.strides}, all below min_stride={self.min_stride}; "
                f"set model.fusion.init_args.min_stride to {image.strides[-1]} or less"
            )
        kept = kept[-self.num_levels :]
        levels = tuple(image.levels[i] for i in kept)
        return PyramidFeatures(levels, tuple(image.strides[i] for i in kept), image.mask)

    def _cell_positions(self, image: PyramidFeatures) -> Tensor:
        """Sines of every cell's centre and the embedding of its level, [B, K, d_model]."""
        return torch.cat(
            [
                sine_embedding(cell_centres(image.mask, stride), self.d_model // 2).flatten(1, 2)
                + self.level_embedding.weight[i]
                for i, stride in enumerate(image.strides)
            ],
            dim=1,
        )


def _cell_masks(image: PyramidFeatures) -> Tensor:
    """Which cells of all levels are real, [B, K]."""
    return torch.cat([cell_mask(image.mask, s).flatten(1) for s in image.strides], dim=1)


def _masked_mean(memory: Memory) -> Tensor:
    """Average the real features, [B, d]."""
    weight = memory.mask[..., None].to(memory.features.dtype)
    return (memory.features * weight).sum(1) / weight.sum(1)


def grid_boxes(count: int) -> Tensor:
    """Cover the image evenly with overlapping boxes, where queries start.

    They stand in about √count rows, whose lengths differ by one at most; each is twice as large as
    the distance to the next.

    Returns:
        (cx, cy, w, h) as fractions of the image, [count, 4].
    """
    rows = round(count**0.5)
    row = torch.arange(count) * rows // count
    length = row.bincount()[row]
    column = torch.arange(count) - torch.searchsorted(row, row)
    spread = [
        (column + 0.5) / length,
        (row + 0.5) / rows,
        2 / length,
        2 / torch.full((count,), rows),
    ]
    # Sizes stay below one, where the sigmoid that carries them would saturate.
    return torch.stack(spread, dim=-1).clamp(max=0.95)
