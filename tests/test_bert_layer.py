import pytest
import torch
from golden import golden, load_recipe, recipe_tensor
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer as TheirBertLayer

from glip_pl.layers.bert import BertLayer

OFFICIAL = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)


def layer():
    module = BertLayer(12, num_heads=3).eval()
    load_recipe(module, "layer.", OFFICIAL)
    return module


def tokens():
    return torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(0))


def test_the_layer_is_that_of_transformers():
    config = BertConfig(hidden_size=12, num_attention_heads=3, intermediate_size=48)
    config._attn_implementation = "eager"
    theirs = TheirBertLayer(config).eval()
    load_recipe(theirs, "layer.", {name: name for name in OFFICIAL.values()})
    lowest = torch.where(MASK, 0.0, torch.finfo().min)[:, None, None]

    expected = theirs(tokens(), attention_mask=lowest)

    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(layer()(tokens(), MASK), expected, atol=1e-5, rtol=1e-5)


def test_a_padded_token_changes_nothing():
    other = tokens()
    other[~MASK] = 1000.0

    assert torch.equal(layer()(tokens(), MASK)[MASK], layer()(other, MASK)[MASK])


def test_dropout_acts_in_training_only():
    module = layer()
    before = module(tokens(), MASK)

    module.train()

    assert not torch.equal(module(tokens(), MASK), before)
    assert torch.equal(module.eval()(tokens(), MASK), before)


def test_the_layer_is_the_official_one():
    arrays = golden("unit_blocks")
    module = BertLayer(48, num_heads=4, d_feedforward=96).eval()
    load_recipe(module, "unit.bert.", OFFICIAL)

    with torch.no_grad():
        hidden = module(arrays["battn_lang_in"], arrays["battn_mask"].bool())

    torch.testing.assert_close(hidden, arrays["bertlayer_out"], atol=1e-5, rtol=1e-5)


def test_the_weight_recipe_gives_its_published_numbers():
    key = "language_backbone.body.model.encoder.layer.3.attention.output.LayerNorm.weight"

    weight = recipe_tensor(key, (768,))

    assert weight[:3].tolist() == pytest.approx([1.124521, 0.942567, 1.198022], abs=1e-6)
    assert weight.sum().item() == pytest.approx(763.117851, abs=1e-3)


def test_heads_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match=r"d_text=10 .* num_heads=12"):
        BertLayer(10)
