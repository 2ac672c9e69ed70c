"""BERT as a text encoder: the network of transformers' ``BertModel`` without its pooler.

Names and order of the parameters are those of transformers, so that files of either side load in
the other. It stands here because importing transformers' own takes longer than detecting does. See
https://arxiv.org/abs/1810.04805.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.device import all_real

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True)
class BertConfig:
    """What ``config.json`` of a BERT says; the defaults are those of bert-base-uncased.

    Attributes:
        vocab_size: Word pieces.
        hidden_size: Width of the tokens.
        num_hidden_layers: Transformer layers.
        num_attention_heads: Attention heads, which share the width equally.
        intermediate_size: Hidden width of the feed-forward networks.
        hidden_act: Activation of the feed-forward networks.
        hidden_dropout_prob: Probability of dropping a feature.
        attention_probs_dropout_prob: Probability of dropping an attention weight.
        max_position_embeddings: Longest caption in tokens.
        type_vocab_size: Kinds of sentences; captions are of the first.
        initializer_range: Standard deviation of random weights.
        layer_norm_eps: Of the LayerNorms.
        pad_token_id: Word piece that is never learned.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    def __post_init__(self) -> None:
        if self.hidden_act not in _ACTIVATIONS:
            raise ValueError(
                f"config.json has hidden_act={self.hidden_act!r}; a BERT with one of "
                f"{', '.join(_ACTIVATIONS)} can be read"
            )

    @classmethod
    def of(cls, described: dict[str, Any]) -> Self:
        """Read what ``config.json`` says; what is not used here is left out."""
        return cls(**{f.name: described[f.name] for f in fields(cls) if f.name in described})

    def to_dict(self) -> dict[str, Any]:
        """Describe the model as transformers does."""
        return {"architectures": ["BertModel"], "model_type": "bert", **asdict(self)}


class Bert(nn.Module):
    """The network.

    Attributes:
        config: Its sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))}
        )
        self.apply(self._start)

    def forward(self, ids: Tensor, mask: Tensor, places: Tensor | None = None) -> Tensor:
        """Encode captions.

        Args:
            ids: Word pieces, [B, M].
            mask: Boolean, True where a token may be seen: [B, M] by all of its caption, or
                [B, M, M] by each token of its own.
            places: Position of each token, [B, M]; by default they count up.

        Returns:
            [B, M, hidden_size].
        """
        seen = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
        # Attention without a mask is faster; a graph must keep it, since other captions come.
        unmasked = mask.ndim == 2 and all_real(mask)
        hidden: Tensor = self.embeddings(ids, places)
        layers: Any = self.encoder["layer"]
        for layer in layers:
            hidden = layer(hidden, None if unmasked else seen)
        return hidden

    def _start(self, module: nn.Module) -> None:
        """Set random weights as BERT does."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])


class BertEmbeddings(nn.Module):
    """What the layers start from: a vector per word piece and one per position."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor, places: Tensor | None) -> Tensor:
        """Embed word pieces [B, M] at places [B, M]."""
        if places is None:
            places = torch.arange(ids.shape[1], device=ids.device)[None]
        words = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        embedded: Tensor = self.dropout(self.LayerNorm(words + self.position_embeddings(places)))
        return embedded


class BertLayer(nn.Module):
    """Self-attention and a feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, hidden = config.hidden_size, config.intermediate_size
        self.attention = BertAttention(config)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = BertOutput(hidden, config)
        self.activation = _ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor, seen: Tensor | None) -> Tensor:
        """Update tokens [B, M, D] from those that each sees, Boolean [B, 1, 1 or M, M]."""
        hidden = self.attention(hidden, seen)
        updated: Tensor = self.output(self.activation(self.intermediate["dense"](hidden)), hidden)
        return updated


class BertAttention(nn.Module):
    """Self-attention with its residual."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads, self.dropout = (
            config.num_attention_heads,
            config.attention_probs_dropout_prob,
        )
        self.self = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        )
        self.output = BertOutput(width, config)

    def forward(self, hidden: Tensor, seen: Tensor | None) -> Tensor:
        """Update tokens [B, M, D] from those that each sees, Boolean [B, 1, 1 or M, M]."""
        query, key, value = (
            self.self[name](hidden).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        dropout = self.dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(query, key, value, seen, dropout)
        updated: Tensor = self.output(heads.transpose(1, 2).flatten(2), hidden)
        return updated


class BertOutput(nn.Module):
    """A product, added to what was there before, and a LayerNorm."""

    def __init__(self, width: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, update: Tensor, hidden: Tensor) -> Tensor:
        """Add an update [B, M, width] to tokens [B, M, D]."""
        added: Tensor = self.LayerNorm(self.dropout(self.dense(update)) + hidden)
        return added
