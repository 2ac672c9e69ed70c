"""One BERT layer, which updates the tokens between two fusions. See https://arxiv.org/abs/1810.04805."""

import torch.nn.functional as F
from torch import Tensor, nn


class BertLayer(nn.Module):
    """Self-attention and a feed-forward network, each followed by residual and LayerNorm.

    Official GLIP clamps scores and activations to ±50,000. That guards float16 against overflow and
    changes nothing in float32 and bfloat16, so it is left out.
    """

    def __init__(
        self,
        d_text: int,
        *,
        num_heads: int = 12,
        d_feedforward: int | None = None,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        """Build the layer.

        Args:
            d_text: Width of the tokens.
            num_heads: Attention heads; they share `d_text` equally.
            d_feedforward: Width of the feed-forward network, 4 * d_text by default.
            dropout: Probability of dropping an attention weight or a feature.
            eps: Of the LayerNorms.

        Raises:
            ValueError: `num_heads` does not divide `d_text`.
        """
        super().__init__()
        if d_text % num_heads:
            raise ValueError(
                f"d_text={d_text} cannot be split into num_heads={num_heads} equal heads; "
                "choose a number of heads that divides it"
            )
        self.num_heads = num_heads
        self.attention_dropout = dropout
        self.query = nn.Linear(d_text, d_text)
        self.key = nn.Linear(d_text, d_text)
        self.value = nn.Linear(d_text, d_text)
        self.attention_out = nn.Linear(d_text, d_text)
        self.attention_norm = nn.LayerNorm(d_text, eps)
        self.widen = nn.Linear(d_text, d_feedforward or 4 * d_text)
        self.narrow = nn.Linear(d_feedforward or 4 * d_text, d_text)
        self.norm = nn.LayerNorm(d_text, eps)
        self.dropout = nn.Dropout(dropout)
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Update the tokens from each other.

        Args:
            hidden: Token features, [B, M, d_text].
            mask: Boolean [B, M], True where a token is real; at least one per row.

        Returns:
            [B, M, d_text]; what stands at a padded token is of no use.
        """
        query, key, value = (
            project(hidden).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask[:, None, None, :],
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        attended = self.attention_out(attended.transpose(1, 2).flatten(2))
        hidden = self.attention_norm(hidden + self.dropout(attended))
        update = self.narrow(F.gelu(self.widen(hidden)))
        output: Tensor = self.norm(hidden + self.dropout(update))
        return output
