"""Transformer layers for object queries: an encoder over cells, a decoder over text and cells.

All layers are pre-norm (Xiong et al., https://arxiv.org/abs/2002.04745), which trains without a
warm-up; the caller normalises what leaves the last one. Masks are Boolean [B, K], True where a key
is real, and every item needs at least one real key. The key projections have no bias: a softmax
would cancel it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Memory:
    """What queries look at.

    Attributes:
        features: [B, K, d_model].
        mask: Boolean [B, K], True where real.
    """

    features: Tensor
    mask: Tensor


def refuse_uneven_heads(d_model: int, num_heads: int) -> None:
    """Refuse heads that cannot share a width equally.

    Raises:
        ValueError: They cannot.
    """
    if d_model % num_heads:
        raise ValueError(
            f"d_model is {d_model}, which {num_heads} heads cannot share evenly; "
            "set num_heads to a divisor of it"
        )


class Attention(nn.Module):
    """Multi-head attention: softmax(Q Kᵀ / √d_h) V, with heads of width d_h.

    Args:
        d_model: Width of queries, keys and values.
        num_heads: Heads; they share `d_model` equally.
        dropout: Probability of dropping an attention weight.
        key_bias: Whether keys have a bias. It changes nothing, but published weights have one.
    """

    def __init__(
        self, d_model: int, num_heads: int, *, dropout: float, key_bias: bool = False
    ) -> None:
        super().__init__()
        refuse_uneven_heads(d_model, num_heads)
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model, bias=key_bias)
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Mix the values for every query.

        Args:
            query: [B, Q, d_model].
            key: [B, K, d_model].
            value: [B, K, d_model].
            mask: Boolean, True where a key is real, [B, K]; or where a query may see it, [B, Q, K].
                All are by default.

        Returns:
            [B, Q, d_model].
        """
        return self.mix(self.heads(self.query(query)), self.heads(self.key(key)), value, mask)

    def heads(self, features: Tensor) -> Tensor:
        """Split [B, N, d_model] into [B, num_heads, N, d_h]."""
        split = features.reshape(*features.shape[:2], self.num_heads, -1)
        return split.transpose(1, 2)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attend with projected heads [B, num_heads, Q or K, any width]."""
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            self.heads(self.value(value)),
            attn_mask=None if mask is None else mask.view(mask.shape[0], 1, -1, mask.shape[-1]),
            dropout_p=self.dropout if self.training else 0.0,
        )
        merged: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return merged


class ConditionalAttention(nn.Module):
    """Attention in which what and where are scored apart: (Q Kᵀ + Q_pos K_posᵀ) / √(2 d_h).

    In a sum of content and position the two disturb each other; apart, a query finds its place
    early in training. See Conditional DETR, Sec. 3.3 (https://arxiv.org/abs/2108.06152). At
    first, Q_pos K_posᵀ summed over the heads is the product of the positions themselves, so that a
    query prefers the cells around it.
    """

    def __init__(self, d_model: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.content = Attention(d_model, num_heads, dropout=dropout)
        self.query_position = nn.Linear(d_model, d_model)
        self.key_position = nn.Linear(d_model, d_model, bias=False)
        nn.init.orthogonal_(self.key_position.weight)
        self.query_position.weight.data.copy_(self.key_position.weight)
        nn.init.zeros_(self.query_position.bias)

    def forward(
        self, query: Tensor, query_position: Tensor, memory: Memory, key_position: Tensor
    ) -> Tensor:
        """Mix the memory for every query.

        Args:
            query: [B, Q, d_model].
            query_position: [B, Q, d_model].
            memory: The K features.
            key_position: [B, K, d_model].
        """
        heads = self.content.heads
        queries = heads(self.content.query(query)), heads(self.query_position(query_position))
        keys = heads(self.content.key(memory.features)), heads(self.key_position(key_position))
        return self.content.mix(
            torch.cat(queries, dim=-1), torch.cat(keys, dim=-1), memory.features, memory.mask
        )


class FeedForward(nn.Sequential):
    """Two linear layers with a ReLU between."""

    def __init__(self, d_model: int, d_feedforward: int, *, dropout: float) -> None:
        widen, narrow = nn.Linear(d_model, d_feedforward), nn.Linear(d_feedforward, d_model)
        super().__init__(widen, nn.ReLU(), nn.Dropout(dropout), narrow)


class EncoderLayer(nn.Module):
    """Self-attention over cells, then a feed-forward network."""

    def __init__(self, d_model: int, num_heads: int, d_feedforward: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(d_model, num_heads, dropout=dropout)
        self.feedforward = FeedForward(d_model, d_feedforward, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, cells: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """Let cells exchange features.

        Args:
            cells: [B, K, d_model].
            position: Added to queries and keys, [B, K, d_model].
            mask: Boolean [B, K], True where a cell is real.
        """
        normed = self.norms[0](cells)
        placed = normed + position
        cells = cells + self.dropout(self.attention(placed, placed, normed, mask))
        thought: Tensor = self.dropout(self.feedforward(self.norms[1](cells)))
        return cells + thought


class DecoderLayer(nn.Module):
    """Queries look at each other, at the text and at the image, then think.

    A decoder layer of DETR with an attention to the text, as in Grounding DINO, Sec. 3.3
    (https://arxiv.org/abs/2303.05499). The text comes first: know what is asked for, then look.
    """

    def __init__(self, d_model: int, num_heads: int, d_feedforward: int, *, dropout: float) -> None:
        super().__init__()
        self.self_attention = Attention(d_model, num_heads, dropout=dropout)
        self.text_attention = Attention(d_model, num_heads, dropout=dropout)
        self.image_attention = ConditionalAttention(d_model, num_heads, dropout=dropout)
        self.position_scale = nn.Linear(d_model, d_model)
        self.feedforward = FeedForward(d_model, d_feedforward, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        nn.init.ones_(self.position_scale.bias)

    def forward(
        self,
        queries: Tensor,
        box_position: Tensor,
        centre: Tensor,
        text: Memory,
        image: Memory,
        cell_position: Tensor,
    ) -> Tensor:
        """Update the queries.

        Args:
            queries: [B, Q, d_model].
            box_position: Embedding of each query's box, [Q, d_model].
            centre: Sine embedding of each query's centre, [Q, d_model].
            text: Tokens, projected to d_model.
            image: Encoded cells.
            cell_position: Sine embedding of each cell's centre plus its level's, [B, K, d_model].
        """
        normed = self.norms[0](queries)
        placed = normed + box_position
        queries = queries + self.dropout(self.self_attention(placed, placed, normed))

        looked = self.text_attention(
            self.norms[1](queries), text.features, text.features, text.mask
        )
        queries = queries + self.dropout(looked)

        normed = self.norms[2](queries)
        where = centre * self.position_scale(normed)
        looked = self.image_attention(normed, where, image, cell_position)
        queries = queries + self.dropout(looked)

        thought: Tensor = self.dropout(self.feedforward(self.norms[3](queries)))
        return queries + thought
