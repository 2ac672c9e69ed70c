"""X-MHA: image and text attend to each other in one step, the heart of GLIP's deep fusion.

The image has many positions, N up to 22,000, and the text few tokens, M. Projecting every position
to the width of the attention costs more than everything else in the model, so the image-side
projections are folded into the text side, where they touch M rows in place of N. The function
computed is the same. See GLIP, Sec. 3.2 (https://arxiv.org/abs/2112.03857).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.layers.attention_blocks import attend_in_blocks
from glip_pl.layers.device import all_real, cpu_inference, on_cpu
from glip_pl.layers.precision import at_least_fp32
from glip_pl.layers.recompute import run_layer
from glip_pl.layers.stochastic_depth import StochasticDepth


class BiAttention(nn.Module):
    """Exchange features between image positions and text tokens, in both directions.

    As in official GLIP the residual starts from the normalised input, so with both gates at zero
    the block applies its two LayerNorms and nothing else. There the text looks at every image
    position, padded ones included; in Grounding DINO at the real ones.

    Official GLIP clamps scores to ±50,000 before the softmax; here they go as they are. That can
    matter only where two scores that compete are both beyond it: there they become equal, here one
    of them wins. So large they are where a training diverged, not in a model that detects.
    """

    def __init__(
        self,
        d_model: int,
        d_text: int,
        *,
        d_attention: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.1,
        drop_path: float = 0.0,
        init_gate: float = 1 / 6,
    ) -> None:
        """Build the block.

        Args:
            d_model: Width of the image features.
            d_text: Width of the text features.
            d_attention: Width of queries, keys and values, all heads together.
            num_heads: Heads; they share `d_attention` equally.
            dropout: Probability of dropping an attention weight.
            drop_path: Probability of dropping an update as a whole, image by image.
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
        self.drop_path = StochasticDepth(drop_path)
        _draw_projections(self)

    def forward(
        self, image: Tensor, text: Tensor, text_mask: Tensor, image_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Update both sides from each other.

        Args:
            image: Features of all positions, [B, N, d_model].
            text: Features of all tokens, [B, M, d_text].
            text_mask: Boolean [B, M], True where a token is real; at least one per row.
            image_mask: Boolean [B, N], True where the text may look; it looks everywhere by
                default. Where it is given, padded tokens learn nothing from the image.

        Returns:
            The updated image [B, N, d_model] and text [B, M, d_text].
        """
        image, text = self.image_norm(image), self.text_norm(text)
        folded, shift = self._fold_queries(text)
        values = self._fold_values(text)
        # Of one dtype: adding bfloat16 to float32 is slow on a CPU.
        gate, bias = self.image_gate.to(image.dtype), self.image_out.bias.to(image.dtype)
        attended = None
        # Official GLIP updates padded tokens, too, and blocks leave them out.
        unpadded = image_mask is not None or all_real(text_mask)
        if cpu_inference(image) and not self.training and unpadded:
            # Each head's weights sum to one, so that the values can carry the bias, and the gate.
            values_and_bias = gate * (values + bias / self.num_heads)
            masks = text_mask, image_mask
            attended = attend_in_blocks(image, folded, shift, values_and_bias, masks)
        if attended is None:
            # A CPU writes the scores out; elsewhere a fused kernel is faster and needs no room.
            attend = self._attend if on_cpu(image) else self._attend_fused
            update, pooled, total = attend(image, folded, shift, values, text_mask, image_mask)
            image = image + self.drop_path(gate * (update + bias))
        else:
            image, pooled, total = attended
        text_update = self.text_gate.to(text.dtype) * self._text_update(pooled, total)
        return image, text + self.drop_path(text_update)

    def _fold_queries(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """k_hm · (W_h x_n + b_h) as a product with x_n, [B, H, M, d], and a shift, [B, H, M]."""
        keys = self._heads(self.key(text)) * self.scale  # [B, H, M, a]
        folded = torch.einsum("bhma,had->bhmd", keys, self._per_head(self.query.weight))
        shift = torch.einsum("bhma,ha->bhm", keys, self._per_head(self.query.bias))
        return folded, shift

    def _fold_values(self, text: Tensor) -> Tensor:
        """Carry the token values through the output projection, [B, H, M, d]."""
        values = self._heads(self.text_value(text))
        out = self._per_head(self.image_out.weight.T)
        return torch.einsum("bhma,had->bhmd", values, out)

    def _attend(
        self,
        image: Tensor,
        folded: Tensor,
        shift: Tensor,
        values: Tensor,
        text_mask: Tensor,
        image_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weigh tokens for each position and positions for each token.

        Returns:
            The image's update, [B, N, d]; each token's mean of the positions, [B, H, M, d]; and the
            sum of its weights, [B, H, M, 1].
        """
        scores = torch.baddbmm(
            shift.flatten(1)[..., None], folded.flatten(1, 2), image.transpose(1, 2)
        )
        # bf16 would round the weights of thousands of positions away.
        scores = at_least_fp32(scores).view(*shift.shape, -1)  # [B, H, M, N]
        to_image = scores.masked_fill(~text_mask[:, None, :, None], -torch.inf).softmax(2)
        if image_mask is not None:
            scores = scores.masked_fill(~image_mask[:, None, None], -torch.inf)
        to_text = scores.softmax(3)
        to_image = F.dropout(to_image, self.dropout, self.training)
        to_text = F.dropout(to_text, self.dropout, self.training)
        update = to_image.flatten(1, 2).transpose(1, 2) @ values.flatten(1, 2)
        pooled = (to_text.flatten(1, 2) @ image).view_as(folded)
        # Dropout leaves weights that do not sum to one, and the bias of the values counts as often.
        return update, pooled, to_text.sum(3, keepdim=True)

    def _attend_fused(
        self,
        image: Tensor,
        folded: Tensor,
        shift: Tensor,
        values: Tensor,
        text_mask: Tensor,
        image_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend as `_attend`, by kernels that keep no score [N, M] and no value [N, d_attention].

        The image looks head by head, so that one update [B, N, d] stands in memory; in training
        each head is computed again in the backward pass, where the gradient of a token's shift
        needs the scores of one head, [N, M]. The text looks with the H * M folded
        queries of all heads at one shared key and value, the image itself.
        """
        dropout = self.dropout if self.training else 0.0
        image = image.to(folded.dtype)  # Norms leave fp32 under autocast, products half of it.
        # Softmax over the tokens: the shift of each counts, and padding counts for nothing.
        bias = shift.masked_fill(~text_mask[:, None], -torch.inf).to(image.dtype)
        update = torch.zeros_like(image)
        for h in range(self.num_heads):
            arguments = (image, folded[:, h], values[:, h], bias[:, h, None], dropout)
            update = update + run_layer(_fused, *arguments, recompute=torch.is_grad_enabled())
        # Softmax over the positions: a token's shift is the same for all of them, and falls out.
        seen = None if image_mask is None else image_mask[:, None]
        queries = folded.flatten(1, 2)
        if not dropout:
            pooled = _fused(queries, image, image, seen, 0.0)
            return update, pooled.view_as(folded), torch.ones_like(shift)[..., None]
        # A column of ones sums up what dropout left of the weights; kernels want multiples of 8.
        ones = F.pad(image.new_ones(*image.shape[:2], 1), (0, 7))
        width = image.shape[-1]
        both = _fused(queries, image, torch.cat([image, ones], -1), seen, dropout)
        pooled, total = both[..., :width], both[..., width : width + 1]
        return update, pooled.reshape(folded.shape), total.reshape(*shift.shape, 1)

    def _text_update(self, pooled: Tensor, total: Tensor) -> Tensor:
        """Project each token's mean of the positions to values after the mean, not before."""
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


def _fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float
) -> Tensor:
    """Attend without a scale: [B, Q, d] to [B, K, d]; a mask adds to, or chooses, the keys."""
    attended = F.scaled_dot_product_attention(
        query[:, None],
        key[:, None],
        value[:, None],
        attn_mask=None if mask is None else mask[:, None],
        dropout_p=dropout,
        scale=1.0,
    )
    return attended[:, 0]


def _draw_projections(block: nn.Module) -> None:
    """Start the projections of a block as GLIP does."""
    for layer in block.children():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
