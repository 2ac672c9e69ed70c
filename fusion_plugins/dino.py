"""DINO fusion: image and text meet in an encoder, in the choice of queries, and in a decoder.

In every layer of the encoder cells and tokens attend to each other (X-MHA), tokens to the words of
their own phrase, and cells to a few places on every level. Every cell then proposes a box; those
that look most like any token of the prompt become queries, and each layer of the decoder moves
their boxes. It is the skeleton of Grounding DINO (https://arxiv.org/abs/2303.05499), of
MM-Grounding-DINO (https://arxiv.org/abs/2401.02361) and of LLMDet (https://arxiv.org/abs/2501.18954).

Boxes inside are (cx, cy, w, h) in fractions of the real image, so that padding moves none of them.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from glip_pl.boxes import to_cxcywh
from glip_pl.fusion import ExtraQueries, FusionOutput, FusionPlugin, PyramidFeatures, TextFeatures
from glip_pl.head import RefinementHead
from glip_pl.layers.alignment import Bias, Scale
from glip_pl.layers.attention import BiAttention
from glip_pl.layers.deformable_transformer import CellLayer, PhraseLayer, QueryLayer
from glip_pl.layers.multiscale import CellGrid
from glip_pl.layers.phrases import places_in_phrases, same_phrase
from glip_pl.layers.positions import SLOW, TEMPERATURE, interleaved_sines, real_size
from glip_pl.layers.proposals import cell_proposals
from glip_pl.layers.pyramid import flatten
from glip_pl.layers.queries import gather, seen_by
from glip_pl.layers.recompute import run_layer
from glip_pl.layers.transformer import Memory
from glip_pl.matching import HungarianMatcher, Matcher


class DinoFusion(FusionPlugin):
    """An encoder over cells and tokens, queries selected by the text, and a refining decoder.

    Args:
        d_model: Width of the pyramid and of the regions, a multiple of 4.
        d_text: Width of the text encoder; its features are projected to `d_model`.
        num_layers: Layers of the encoder and as many of the decoder; each of the latter, and the
            selected proposals, are supervised.
        num_queries: Regions per image, the most boxes that can be found.
        num_levels: Pyramid levels, at most.
        num_heads: Attention heads, an even divisor of `d_model`; half of them between image and
            text and within phrases.
        num_points: Places that each head reads per level.
        d_feedforward: Hidden width of the feed-forward networks, 8 · d_model by default; between
            image and text, and within phrases, half of it.
        dropout: Probability within the layers of cells and queries.
        drop_path: Probability of dropping an exchange between image and text.
        scale: Of the alignment: "none" for Grounding DINO, "root" for its successors.
        bias: Of the alignment: "none" for Grounding DINO, "one" for its successors.
        shared_boxes: Whether one box network serves all layers, as in Grounding DINO.
        token_cost: Weight of the alignment in matching: 2 in mmdetection, 1 in transformers.
        look_twice: Whether the loss of a layer also moves the boxes of the layer before
            (DINO, Sec. 3.5, https://arxiv.org/abs/2203.03605).
        checkpoint_layers: Compute each layer again in the backward pass, to save memory.

    Raises:
        ValueError: The widths do not divide.
    """

    takes_extra = True

    def __init__(
        self,
        *,
        d_model: int,
        d_text: int,
        num_layers: int = 6,
        num_queries: int = 900,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        d_feedforward: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.1,
        scale: Scale = "root",
        bias: Bias = "one",
        shared_boxes: bool = False,
        token_cost: float = 2.0,
        look_twice: bool = False,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__()
        if d_model % 4 or d_model % num_heads or num_heads % 2:
            raise ValueError(
                f"d_model is {d_model} and num_heads {num_heads}; choose an even num_heads that "
                "divides d_model, and a d_model that is a multiple of 4"
            )
        hidden = d_feedforward or 8 * d_model
        self.d_token = self.d_model = d_model
        self.num_levels = num_levels
        self.token_cost = token_cost
        self.look_twice = look_twice
        self.checkpoint_layers = checkpoint_layers
        self.project_text = nn.Linear(d_text, d_model)
        self.level_embedding = nn.Embedding(num_levels, d_model)
        exchange = {"d_attention": hidden // 2, "num_heads": num_heads // 2, "drop_path": drop_path}
        exchange |= {"dropout": 0.0, "init_gate": 1e-4}
        self.exchange = _stack(num_layers, BiAttention, d_model, d_model, **exchange)
        self.phrases = _stack(
            *(num_layers, PhraseLayer, d_model, num_heads // 2, hidden // 2), dropout=0.0
        )
        widths = (d_model, num_heads, hidden)
        places = {"num_levels": num_levels, "num_points": num_points, "dropout": dropout}
        self.cells = _stack(num_layers, CellLayer, *widths, **places)
        self.proposal = nn.Linear(d_model, d_model)
        self.proposal_norm = nn.LayerNorm(d_model)
        self.content = nn.Embedding(num_queries, d_model)
        self.box_position = nn.Sequential(
            nn.Linear(2 * d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model)
        )
        self.decoder = _stack(num_layers, QueryLayer, *widths, **places)
        self.decoder_norm = nn.LayerNorm(d_model)
        self.head = RefinementHead(d_model, num_layers, scale=scale, bias=bias, shared=shared_boxes)

    def own_head(self) -> RefinementHead:
        """Return the head, which selection and refinement need inside."""
        return self.head

    def make_matcher(self) -> Matcher:
        """Regions are a set: each box is given to one of them."""
        return HungarianMatcher(token_cost=self.token_cost)

    def forward(
        self, image: PyramidFeatures, text: TextFeatures, extra: ExtraQueries | None = None
    ) -> FusionOutput:
        """Encode image and text together, select queries and refine their boxes.

        Raises:
            ValueError: The pyramid has more levels than `num_levels`.
        """
        if len(image.levels) > self.num_levels:
            raise ValueError(
                f"the pyramid has {len(image.levels)} levels, DinoFusion is built for "
                f"{self.num_levels}; set model.fusion.init_args.num_levels to {len(image.levels)}"
            )
        grid = CellGrid.of(image.mask, image.levels, image.strides)
        size = real_size(image.mask)
        cells, tokens = self.encode(image, text, grid)
        proposed, proposals, real = self.select(cells, tokens, text.mask, grid)
        boxes, count = self.head.box(0)(proposed, proposals).detach(), proposed.shape[1]
        # Queries have learned contents, by rank.
        ranks = torch.arange(count, device=proposed.device)
        queries = self.content(ranks).expand_as(proposed).to(proposed.dtype)
        if extra is not None:
            boxes = torch.cat([boxes, to_cxcywh(extra.boxes) / size.repeat(1, 2)[:, None]], dim=1)
            queries = torch.cat([queries, extra.contents.to(queries.dtype)], dim=1)
        regions, priors = self.decode(
            *(queries, boxes, seen_by(real, None if extra is None else extra.sees)),
            Memory(tokens, text.mask),
            cells,
            grid,
        )
        own = [x[:, :count] for x in regions], [x[:, :count] for x in priors]
        own = [proposed, *own[0]], [proposals, *own[1]]
        fused = FusionOutput.of_queries(*own, tokens, size, real)
        if extra is None:
            return fused
        added = [x[:, count:] for x in regions], [x[:, count:] for x in priors]
        return replace(fused, extra=FusionOutput.of_queries(*added, tokens, size, extra.mask))

    def encode(
        self, image: PyramidFeatures, text: TextFeatures, grid: CellGrid
    ) -> tuple[Tensor, Tensor]:
        """Let cells and tokens exchange features: [B, N, d_model] and [B, M, d_model]."""
        cells, _ = flatten(image.levels)
        tokens = self.project_text(text.hidden)
        blocks = text.phrase_numbers()
        place = places_in_phrases(blocks)[..., None].to(torch.float32)
        place = interleaved_sines(place, self.d_model, SLOW).to(tokens.dtype)
        sees = same_phrase(blocks, text.mask)
        position = interleaved_sines(grid.edges(), self.d_model // 2, TEMPERATURE)
        position = (position + self.level_embedding(grid.levels())).to(cells.dtype)
        centres = grid.centres()
        for exchange, phrases, layer in zip(self.exchange, self.phrases, self.cells, strict=True):
            cells, tokens = run_layer(
                *(exchange, cells, tokens, text.mask, grid.mask), recompute=self.checkpoint_layers
            )
            tokens = run_layer(phrases, tokens, place, sees, recompute=self.checkpoint_layers)
            cells = run_layer(
                *(layer, cells, position, centres, grid), recompute=self.checkpoint_layers
            )
        return cells, tokens

    def select(
        self, cells: Tensor, tokens: Tensor, text_mask: Tensor, grid: CellGrid
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the cells that look most like any token.

        Returns:
            Of the chosen ones, best first: features [B, Q, d_model], proposed boxes [B, Q, 4], and
            whether they propose a box at all [B, Q]; an image may have fewer that do than others.
        """
        proposals, real = cell_proposals(grid)
        features = self.proposal_norm(self.proposal(cells.masked_fill(~real[..., None], 0.0)))
        logits = self.head.alignment(0)(features, tokens)
        best = logits.masked_fill(~text_mask[:, None], -torch.inf).amax(-1)
        chosen = self.choose(best.masked_fill(~real, -torch.inf))
        return gather(features, chosen), gather(proposals, chosen), real.gather(1, chosen)

    def choose(self, scores: Tensor) -> Tensor:
        """Return the cells with the best scores [B, N], best first, [B, Q]."""
        return scores.topk(min(self.content.num_embeddings, scores.shape[1])).indices

    def decode(
        self,
        queries: Tensor,
        boxes: Tensor,
        sees: Tensor | None,
        text: Memory,
        cells: Tensor,
        grid: CellGrid,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Refine queries [B, Q, d_model] and their boxes [B, Q, 4] layer by layer.

        Returns:
            Of each layer, the regions and the boxes that they start from.
        """
        regions, priors, prior = [], [], boxes
        for number, layer in enumerate(self.decoder, start=1):
            position = self.box_position(self.box_sines(boxes, grid).to(queries.dtype))
            queries = run_layer(
                *(layer, queries, position, boxes, sees, text, cells, grid),
                recompute=self.checkpoint_layers,
            )
            regions.append(self.decoder_norm(queries))
            priors.append(prior)
            refined = self.head.box(number)(queries, boxes)
            boxes = refined.detach()
            prior = refined if self.look_twice else boxes
        return regions, priors

    def box_sines(self, boxes: Tensor, grid: CellGrid) -> Tensor:
        """Write boxes [B, Q, 4] as sines, [B, Q, 2 * d_model].

        The published models take fractions of the padded input here, and those of the real image
        everywhere else. So their boxes depend on the padding; here they do not.
        """
        return interleaved_sines(boxes, self.d_model // 2, SLOW)


def _stack(
    count: int, layer: Callable[..., nn.Module], *widths: int, **options: float
) -> nn.ModuleList:
    """Build equal layers, each with weights of its own."""
    return nn.ModuleList(layer(*widths, **options) for _ in range(count))
