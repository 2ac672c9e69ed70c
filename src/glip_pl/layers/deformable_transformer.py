"""The layers of Grounding DINO: over cells, over the words of a phrase, and over queries.

All are post-norm: each sub-layer is added to its input and the sum is normalised. See Deformable
DETR (https://arxiv.org/abs/2010.04159) and Grounding DINO, Sec. 3 and Fig. 2
(https://arxiv.org/abs/2303.05499).
"""

import torch
from torch import Tensor, nn

from glip_pl.layers.device import cpu_inference
from glip_pl.layers.linear import linear
from glip_pl.layers.multiscale import CellGrid, DeformableAttention, Scene
from glip_pl.layers.transformer import Attention, Memory

# Cells that pass the feed-forward network at a time where no gradient is needed: what lies between
# its two layers, eight times as wide, then stays in the cache.
_BLOCK = 2**11


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, added to the input and normalised."""

    def __init__(self, d_model: int, d_feedforward: int, *, dropout: float) -> None:
        super().__init__()
        self.widen = nn.Linear(d_model, d_feedforward)
        self.narrow = nn.Linear(d_feedforward, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, d_model] to the same."""
        if not cpu_inference(x):
            return self._update(x)
        blocks = torch.split(x.flatten(0, 1), _BLOCK)
        return torch.cat([self._update(block) for block in blocks]).view(x.shape)

    def _update(self, x: Tensor) -> Tensor:
        hidden = linear(self.widen, x, activation="relu")
        updated: Tensor = self.norm(x + self.dropout(linear(self.narrow, hidden)))
        return updated


class CellLayer(nn.Module):
    """Deformable self-attention over the cells of all levels, then a feed-forward network."""

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_feedforward: int,
        *,
        num_levels: int,
        num_points: int = 4,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(
            d_model, num_heads, num_levels=num_levels, num_points=num_points
        )
        self.norm = nn.LayerNorm(d_model)
        self.feedforward = FeedForward(d_model, d_feedforward, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, cells: Tensor, position: Tensor, centres: Tensor, grid: CellGrid) -> Tensor:
        """Let cells exchange features.

        Args:
            cells: [B, N, d_model].
            position: Added to the cells that look, [B, N, d_model].
            centres: Where each cell looks from, [B, N, 2], fractions of the real image.
            grid: Where the cells lie.
        """
        scene = self.attention.prepare(cells, grid)
        if not cpu_inference(cells):
            return self._update(cells, position, centres, scene)
        updated = torch.empty_like(cells)
        for b in range(len(cells)):
            image, one = scene.pick(b), slice(b, b + 1)
            for start in range(0, cells.shape[1], _BLOCK):
                some = one, slice(start, start + _BLOCK)
                updated[some] = self._update(cells[some], position[some], centres[some], image)
        return updated

    def _update(self, cells: Tensor, position: Tensor, centres: Tensor, scene: Scene) -> Tensor:
        read = self.attention.read(cells + position, centres, scene)
        updated: Tensor = self.feedforward(self.norm(cells + self.dropout(read)))
        return updated


class PhraseLayer(nn.Module):
    """Self-attention among the words of each phrase, then a feed-forward network."""

    def __init__(self, d_model: int, num_heads: int, d_feedforward: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(d_model, num_heads, dropout=0.0, key_bias=True)
        self.norm = nn.LayerNorm(d_model)
        self.feedforward = FeedForward(d_model, d_feedforward, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """Let the words of a phrase exchange features.

        Args:
            tokens: [B, M, d_model].
            position: Place of each token in its phrase, added to queries and keys, [B, M, d_model].
            mask: Boolean [B, M, M], True where a token may see another.
        """
        placed = tokens + position
        read = self.attention(placed, placed, tokens, mask)
        updated: Tensor = self.feedforward(self.norm(tokens + self.dropout(read)))
        return updated


class QueryLayer(nn.Module):
    """Queries look at each other, at the text, at a few places of the image, and then think."""

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_feedforward: int,
        *,
        num_levels: int,
        num_points: int = 4,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attention = Attention(d_model, num_heads, dropout=0.0, key_bias=True)
        self.self_norm = nn.LayerNorm(d_model)
        self.text_attention = Attention(d_model, num_heads, dropout=0.0, key_bias=True)
        self.text_norm = nn.LayerNorm(d_model)
        self.image_attention = DeformableAttention(
            d_model, num_heads, num_levels=num_levels, num_points=num_points
        )
        self.image_norm = nn.LayerNorm(d_model)
        self.feedforward = FeedForward(d_model, d_feedforward, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        boxes: Tensor,
        sees: Tensor | None,
        text: Memory,
        cells: Tensor,
        grid: CellGrid,
    ) -> Tensor:
        """Update the queries.

        Args:
            queries: [B, Q, d_model].
            position: Embedding of each query's box, [B, Q, d_model].
            boxes: Where each query looks, [B, Q, 4], (cx, cy, w, h) in fractions of the real image.
            sees: Boolean [B, Q, Q], True where a query may see another; all do by default.
            text: Fused tokens.
            cells: Fused cells, [B, N, d_model].
            grid: Where the cells lie.
        """
        placed = queries + position
        read = self.self_attention(placed, placed, queries, sees)
        queries = self.self_norm(queries + self.dropout(read))
        read = self.text_attention(queries + position, text.features, text.features, text.mask)
        queries = self.text_norm(queries + self.dropout(read))
        read = self.image_attention(queries + position, boxes, cells, grid)
        queries = self.image_norm(queries + self.dropout(read))
        updated: Tensor = self.feedforward(queries)
        return updated
