import pytest
import torch
from torch import nn

from glip_pl.layers.transformer import (
    Attention,
    ConditionalAttention,
    DecoderLayer,
    EncoderLayer,
    Memory,
)

D, HEADS = 8, 2
MASK = torch.tensor([[True, True, True, False], [True, True, False, False]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def decoder_inputs():
    return {
        "queries": torch.randn(2, 3, D),
        "box_position": torch.randn(3, D),
        "centre": torch.randn(3, D),
        "text": Memory(torch.randn(2, 4, D), MASK),
        "image": Memory(torch.randn(2, 4, D), MASK),
        "cell_position": torch.randn(2, 4, D),
    }


def test_attention_agrees_with_torch():
    ours = Attention(D, HEADS, dropout=0.0)
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True)
    rows = [ours.query, ours.key, ours.value]
    theirs.in_proj_weight.data = torch.cat([linear.weight for linear in rows])
    theirs.in_proj_bias.data = torch.cat([ours.query.bias, torch.zeros(D), ours.value.bias])
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, key, value = torch.randn(2, 3, D), torch.randn(2, 4, D), torch.randn(2, 4, D)

    expected, _ = theirs(query, key, value, key_padding_mask=~MASK)
    torch.testing.assert_close(ours(query, key, value, MASK), expected)


def test_heads_that_cannot_share_the_width_are_refused():
    with pytest.raises(ValueError, match=r"d_model is 8, which 3 heads.*num_heads"):
        Attention(8, 3, dropout=0.0)


def test_conditional_attention_adds_the_scores_of_content_and_position():
    attention = ConditionalAttention(D, 1, dropout=0.0)
    content = attention.content
    query, query_position = torch.randn(2, 1, 3, D)
    cells, key_position = torch.randn(2, 1, 4, D)

    what = content.query(query) @ content.key(cells).mT
    where = attention.query_position(query_position) @ attention.key_position(key_position).mT
    weights = ((what + where) / (2 * D) ** 0.5).softmax(-1)
    expected = content.out(weights @ content.value(cells))

    looked = attention(query, query_position, Memory(cells, torch.ones(1, 4).bool()), key_position)
    torch.testing.assert_close(looked, expected)


def test_at_first_queries_and_cells_score_by_their_positions():
    attention = ConditionalAttention(D, HEADS, dropout=0.0)
    here, there = torch.randn(3, D), torch.randn(4, D)

    scores = attention.query_position(here) @ attention.key_position(there).T
    torch.testing.assert_close(scores, here @ there.T)


def test_a_cell_of_padding_changes_no_real_cell():
    layer = EncoderLayer(D, HEADS, 16, dropout=0.0)
    cells, position = torch.randn(2, 4, D), torch.randn(2, 4, D)
    changed = torch.where(MASK[..., None], cells, 9.0)

    before, after = layer(cells, position, MASK), layer(changed, position, MASK)
    torch.testing.assert_close(after[MASK], before[MASK])


@pytest.mark.parametrize("name", ["text", "image"])
def test_padding_changes_no_query(name):
    layer = DecoderLayer(D, HEADS, 16, dropout=0.0)
    inputs = decoder_inputs()
    features = torch.where(MASK[..., None], inputs[name].features, 9.0)

    before, after = layer(**inputs), layer(**inputs | {name: Memory(features, MASK)})
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("name", ["text", "image"])
def test_queries_read_every_memory(name):
    layer = DecoderLayer(D, HEADS, 16, dropout=0.0)
    inputs = decoder_inputs()

    before = layer(**inputs)
    after = layer(**inputs | {name: Memory(torch.randn(2, 4, D), MASK)})
    assert (after - before).abs().amax(-1).min() > 1e-4


def test_queries_are_a_set():
    layer = DecoderLayer(D, HEADS, 16, dropout=0.0)
    inputs = decoder_inputs()
    order = torch.tensor([2, 0, 1])
    shuffled = {
        "queries": inputs["queries"][:, order],
        "box_position": inputs["box_position"][order],
        "centre": inputs["centre"][order],
    }

    torch.testing.assert_close(layer(**inputs | shuffled), layer(**inputs)[:, order])
