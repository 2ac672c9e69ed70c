import pytest
import torch
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer as TheirBertLayer

from glip_pl.layers.bert import BertLayer
from glip_pl.weights.official.parameter_names import BLOCKS, renamed

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)


def layer():
    torch.manual_seed(0)
    module = BertLayer(12, num_heads=3).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def tokens():
    return torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(0))


def test_the_layer_is_that_of_transformers():
    config = BertConfig(hidden_size=12, num_attention_heads=3, intermediate_size=48)
    config._attn_implementation = "eager"
    theirs = TheirBertLayer(config).eval()
    _, _, names = BLOCKS["text_tower"]
    theirs.load_state_dict(
        {renamed(name, names): value for name, value in layer().state_dict().items()}
    )
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


def test_heads_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match=r"d_text=10 .* num_heads=12"):
        BertLayer(10)
