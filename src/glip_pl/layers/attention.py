"""X-MHA: image and text attend to each other in one step, the heart of GLIP's deep fusion.

The image has many positions, N up to 22,000, and the text few tokens, M. Projecting every position
to the width of the attention costs more than everything else in the model, so the image-side
projections are folded into the text side, where they touch M rows in place of N. The function
computed is the same. See GLIP, Sec. 3.2 (https://arxiv.org/abs/2112.03857).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.precision import at_least_fp32


class BiAttention(nn.Module):
    """Exchange features between image positions and text tokens, in both directions.

    As in official GLIP the residual starts from the normalised input, so with both gates at zero
    the block applies its two LayerNorms and nothing else; and the text looks at every image
    position, padded ones included.
    """

    def __init__(
        self,
        d_model: int,
        d_text: int,
        *,
        d_attention: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.1,
        init_gate: float = 1 / 6,
    ) -> None:
        """Build the block.

        Args:
            d_model: Width of the image features.
            d_text: Width of the text features.
            d_attention: Width of queries, keys and values, all heads together.
            num_heads: Heads; they share `d_attention` equally.
            dropout: Probability of dropping an attention weight.
            init_gate: Start value of the gates that scale both updates; GLIP takes 1 / layers.

        Raises:
            ValueError: `num_heads` does not divide `d_attention`.
        """
        super().__init__()
        if d_attention % num_heads:
            raise ValueError(
                f"d_attention={d_attention} cannot be split into num_heads={num_heads} equal "
                f"heads; choose a multiple of {num_heads}"
            )
        self.num_heads = num_heads
        self.dropout = dropout
        self.scale = (d_attention // num_heads) ** -0.5
        self.image_norm = nn.LayerNorm(d_model)
        self.text_norm = nn.LayerNorm(d_text)
        self.query = nn.Linear(d_model, d_attention)
        self.key = nn.Linear(d_text, d_attention)
        self.image_value = nn.Linear(d_model, d_attention)
        self.text_value = nn.Linear(d_text, d_attention)
        self.image_out = nn.Linear(d_attention, d_model)
        self.text_out = nn.Linear(d_attention, d_text)
        self.image_gate = nn.Parameter(torch.full((d_model,), init_gate))
        self.text_gate = nn.Parameter(torch.full((d_text,), init_gate))
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Update both sides from each other.

        Args:
            image: Features of all positions, [B, N, d_model].
            text: Features of all tokens, [B, M, d_text].
            text_mask: Boolean [B, M], True where a token is real; at least one per row.

        Returns:
            The updated image [B, N, d_model] and text [B, M, d_text].
        """
        image, text = self.image_norm(image), self.text_norm(text)
        scores = self._scores(image, text)  # [B, H, M, N]
        to_image = scores.masked_fill(~text_mask[:, None, :, None], -torch.inf).softmax(2)
        to_text = scores.softmax(3)
        to_image = F.dropout(to_image, self.dropout, self.training)
        to_text = F.dropout(to_text, self.dropout, self.training)
        image_update = self._image_update(to_image, text)
        text_update = self._text_update(to_text, image)
        return image + self.image_gate * image_update, text + self.text_gate * text_update

    def _scores(self, image: Tensor, text: Tensor) -> Tensor:
        """k_hm · (W_h x_n + b_h), computed as (W_hᵀ k_hm) · x_n + k_hm · b_h, [B, H, M, N]."""
        keys = self._heads(self.key(text)) * self.scale  # [B, H, M, a]
        folded = torch.einsum("bhma,had->bhmd", keys, self._per_head(self.query.weight))
        shift = torch.einsum("bhma,ha->bhm", keys, self._per_head(self.query.bias))
        scores = torch.baddbmm(
            shift.flatten(1, 2)[..., None], folded.flatten(1, 2), image.transpose(1, 2)
        )
        # bf16 would round the weights of thousands of positions away.
        return at_least_fp32(scores).view(*keys.shape[:3], -1)

    def _image_update(self, weights: Tensor, text: Tensor) -> Tensor:
        """Each position's mean of the token values, which carry the output projection already."""
        values = self._heads(self.text_value(text))
        out = self._per_head(self.image_out.weight.T)
        folded = torch.einsum("bhma,had->bhmd", values, out)
        update = weights.flatten(1, 2).transpose(1, 2) @ folded.flatten(1, 2)
        return update + self.image_out.bias

    def _text_update(self, weights: Tensor, image: Tensor) -> Tensor:
        """Each token's mean of the positions, projected to values after the mean, not before."""
        pooled = (weights.flatten(1, 2) @ image).view(*weights.shape[:3], -1)
        # Dropout leaves weights that do not sum to one, and the bias of the values counts as often.
        total = weights.sum(3, keepdim=True)
        values = torch.einsum("bhmd,had->bhma", pooled, self._per_head(self.image_value.weight))
        values = values + total * self._per_head(self.image_value.bias)[:, None]
        update: Tensor = self.text_out(values.transpose(1, 2).flatten(2))
        return update

    def _heads(self, projected: Tensor) -> Tensor:
        """[B, M, H * a] to [B, H, M, a]."""
        return projected.view(*projected.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _per_head(self, parameter: Tensor) -> Tensor:
        """[H * a, ...] to [H, a, ...]."""
        return parameter.reshape(self.num_heads, -1, *parameter.shape[1:])


class ImageAttention(nn.Module):
    """Let the image read the text, level by level, and leave the text as it is.

    This is the cheaper exchange that official GLIP calls MHA-S; no released model has it. As there,
    the residual starts from the normalised input, and the text is normalised anew for every level,
    on top of what was done for the level before.
    """

    def __init__(
        self,
        d_model: int,
        d_text: int,
        *,
        d_attention: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.1,
        init_gate: float = 1 / 6,
    ) -> None:
        """Build the block; the arguments are those of `BiAttention`."""
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.image_norm = nn.LayerNorm(d_model)
        self.text_norm = nn.LayerNorm(d_text)
        self.query = nn.Linear(d_model, d_attention)
        self.key = nn.Linear(d_text, d_attention)
        self.value = nn.Linear(d_text, d_attention)
        self.out = nn.Linear(d_attention, d_model)
        self.gate = nn.Parameter(torch.full((d_model,), init_gate))
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, levels: tuple[Tensor, ...], text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, ...]:
        """Update every level [B, d_model, H_l, W_l] from the tokens [B, M, d_text]."""
        updated = []
        for level in levels:
            text = self.text_norm(text)
            image = self.image_norm(level.flatten(2).transpose(1, 2))
            query, key, value = (
                x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                for x in (self.query(image), self.key(text), self.value(text))
            )
            attended = F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=text_mask[:, None, None, :],
                dropout_p=self.dropout if self.training else 0.0,
            )
            image = image + self.gate * self.out(attended.transpose(1, 2).flatten(2))
            updated.append(image.transpose(1, 2).unflatten(2, level.shape[-2:]))
        return tuple(updated)
