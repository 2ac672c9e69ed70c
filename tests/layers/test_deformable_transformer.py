import pytest
import torch
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino import modeling_grounding_dino as oracle

from glip_pl.layers.attention import BiAttention
from glip_pl.layers.deformable_transformer import CellLayer, PhraseLayer, QueryLayer
from glip_pl.layers.multiscale import CellGrid
from glip_pl.layers.positions import SLOW, TEMPERATURE, interleaved_sines
from glip_pl.layers.transformer import Memory

SIZES, STRIDES = ((4, 6), (2, 3)), (8, 16)
CONFIG = GroundingDinoConfig(
    d_model=16,
    num_feature_levels=2,
    encoder_ffn_dim=64,
    decoder_ffn_dim=24,
    encoder_attention_heads=4,
    decoder_attention_heads=2,
    num_queries=5,
    fusion_droppath=0.0,
)
DEFORMABLE = {"sampling_offsets": "offsets", "attention_weights": "weights"}
DEFORMABLE |= {"value_proj": "value", "output_proj": "out"}
ATTENTION = {"query": "query", "key": "key", "value": "value", "out_proj": "out"}


def grid():
    """Two levels over 32x48 pixels; half of the second image is padding."""
    pixels = torch.ones(2, 32, 48, dtype=torch.bool)
    pixels[1, :, 32:] = False
    return CellGrid.of(pixels, [torch.zeros(2, 1, *size) for size in SIZES], STRIDES)


def seeded(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module.eval()


def give(ours, theirs, names):
    """Give an oracle our weights; names are theirs to ours, leaf by leaf."""
    own = ours.state_dict()
    state = {
        f"{their}.{leaf}".removeprefix("."): own[f"{name}.{leaf}"]
        for their, name in names.items()
        for leaf in ("weight", "bias")
    }
    theirs.load_state_dict(state, strict=False)
    assert set(theirs.state_dict()) <= set(state) | {"text_param", "vision_param"}
    return theirs.eval()


def under(prefix, own, names):
    return {f"{prefix}.{their}": f"{own}.{name}" for their, name in names.items()}


FEEDFORWARD = {"fc1": "feedforward.widen", "fc2": "feedforward.narrow"}


def shapes(lattice):
    sizes = torch.tensor(SIZES)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    ratios = lattice.extent / sizes.flip(-1)
    asked = {"spatial_shapes": sizes, "spatial_shapes_list": list(SIZES)}
    return asked | {"level_start_index": starts}, ratios


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_a_cell_layer_is_that_of_transformers(grad):
    layer, lattice = seeded(CellLayer(16, 4, 64, num_levels=2, dropout=0.0)), grid()
    names = under("self_attn", "attention", DEFORMABLE) | FEEDFORWARD
    names |= {"self_attn_layer_norm": "norm", "final_layer_norm": "feedforward.norm"}
    theirs = give(layer, oracle.GroundingDinoDeformableLayer(CONFIG), names)
    cells, position = torch.randn(2, 30, 16), torch.randn(2, 30, 16)
    asked, ratios = shapes(lattice)
    places = oracle.GroundingDinoEncoder.get_reference_points(list(SIZES), ratios, "cpu")

    with torch.set_grad_enabled(grad):
        found = layer(cells, position, lattice.centres(), lattice)

    expected, _ = theirs(cells, lattice.mask, position, places, **asked)
    close(found, expected)


def test_a_phrase_layer_is_that_of_transformers():
    layer = seeded(PhraseLayer(16, 2, 32, dropout=0.0))
    names = under("self_attn", "attention", ATTENTION) | FEEDFORWARD
    names |= {"layer_norm_before": "norm", "layer_norm_after": "feedforward.norm"}
    theirs = give(layer, oracle.GroundingDinoTextEnhancerLayer(CONFIG), names)
    tokens, position = torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    blocks = torch.tensor([[0, 1, 1, 1, 2, 3], [0, 1, 1, 2, 3, 4]])
    mask = blocks[:, :, None] == blocks[:, None]

    expected, _ = theirs(tokens, mask, position)

    close(layer(tokens, position, mask), expected)


def test_a_query_layer_is_that_of_transformers():
    layer, lattice = seeded(QueryLayer(16, 2, 24, num_levels=2, dropout=0.0)), grid()
    names = under("self_attn", "self_attention", ATTENTION) | FEEDFORWARD
    names |= under("encoder_attn_text", "text_attention", ATTENTION)
    names |= under("encoder_attn", "image_attention", DEFORMABLE)
    names |= {"self_attn_layer_norm": "self_norm", "encoder_attn_text_layer_norm": "text_norm"}
    names |= {"encoder_attn_layer_norm": "image_norm", "final_layer_norm": "feedforward.norm"}
    theirs = give(layer, oracle.GroundingDinoDecoderLayer(CONFIG), names)
    queries, position = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    boxes, cells, tokens = torch.rand(2, 5, 4), torch.randn(2, 30, 16), torch.randn(2, 6, 16)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], dtype=torch.bool)
    asked, ratios = shapes(lattice)

    (expected,) = theirs(
        queries,
        position,
        boxes[:, :, None] * ratios.repeat(1, 1, 2)[:, None],
        vision_encoder_hidden_states=cells,
        vision_encoder_attention_mask=lattice.mask,
        text_encoder_hidden_states=tokens,
        text_encoder_attention_mask=~mask[:, None, None] * torch.finfo(torch.float32).min,
        **asked,
    )

    close(layer(queries, position, boxes, None, Memory(tokens, mask), cells, lattice), expected)


@pytest.mark.parametrize("grad", [False, True])
def test_attention_between_image_and_text_is_that_of_transformers(grad):
    block = seeded(BiAttention(16, 16, d_attention=32, num_heads=2, dropout=0.0))
    names = {"layer_norm_vision": "image_norm", "layer_norm_text": "text_norm"}
    projections = {"vision_proj": "query", "text_proj": "key", "values_vision_proj": "image_value"}
    projections |= {"values_text_proj": "text_value", "out_vision_proj": "image_out"}
    names |= {f"attn.{t}": o for t, o in (projections | {"out_text_proj": "text_out"}).items()}
    theirs = give(block, oracle.GroundingDinoFusionLayer(CONFIG), names)
    theirs.vision_param.data, theirs.text_param.data = block.image_gate.data, block.text_gate.data
    image, text, seen = torch.randn(2, 30, 16), torch.randn(2, 6, 16), grid().mask
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], dtype=torch.bool)

    with torch.set_grad_enabled(grad):
        found_image, found_text = block(image, text, mask, seen)

    (expected_image, _), (expected_text, _) = theirs(image, text, ~seen, ~mask)
    close(found_image, expected_image)
    close(found_text[mask], expected_text[mask])


def test_sines_of_cells_are_those_of_transformers():
    lattice = grid()
    mask = lattice.mask[:, :24].view(2, 4, 6)
    expected = oracle.GroundingDinoSinePositionEmbedding(CONFIG)(torch.zeros(1), mask)

    # The far edge of a cell, where transformers takes its place.
    edges = lattice.centres() + 0.5 / lattice.extent[:, lattice.levels()]

    found = interleaved_sines(edges[:, :24], 8, TEMPERATURE)
    close(found[lattice.mask[:, :24]], expected.flatten(2).transpose(1, 2)[mask.flatten(1)])


@pytest.mark.parametrize("coordinates", [1, 2, 4])
def test_sines_of_boxes_and_words_are_those_of_transformers(coordinates):
    positions = torch.rand(2, 5, coordinates) * 3

    expected = oracle.encode_sinusoidal_position_embedding(positions, num_pos_feats=8)

    close(interleaved_sines(positions, 8, SLOW), expected)
