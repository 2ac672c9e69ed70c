"""BERT and its word pieces against transformers, with the same names, files and random weights."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoTokenizer, BertModel

import glip_pl.text.vocabulary
from glip_pl.text import BertEncoder
from glip_pl.text.bert import Bert, BertConfig
from glip_pl.text.word_pieces import read_tokenizer, write_tokenizer

SMALL = BertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=12,
)
VOCABULARY = Path(glip_pl.text.vocabulary.__file__).parent
# Capitals, accents, marks, other scripts, special tokens as they stand, blanks of many kinds.
TEXTS = [
    "Red circle, blue-square.",
    "naïve Ünïcode",
    "日本 ☃ x",
    "a [SEP] b [MASK]",
    " \t\n",
    "",
    "'s",
]


def theirs(config=SMALL) -> BertModel:
    described = transformers.BertConfig.from_dict(config.to_dict())
    return BertModel(described, add_pooling_layer=False).eval()


def test_random_weights_have_the_names_and_the_spread_of_transformers():
    torch.manual_seed(0)
    mine, other = Bert(SMALL).state_dict(), theirs().state_dict()

    assert list(mine) == list(other)
    for name, value in mine.items():
        assert value.shape == other[name].shape
        torch.testing.assert_close(value.std(), other[name].std(), atol=0.006, rtol=0)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_features_are_those_of_transformers(activation):
    config = BertConfig(**{**SMALL.__dict__, "hidden_act": activation})
    other, mine = theirs(config), Bert(config).eval()
    mine.load_state_dict(other.state_dict())
    ids = torch.randint(40, (2, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    square = mask[:, None] & torch.ones(7, 7, dtype=torch.bool).tril() | torch.eye(7).bool()
    places = torch.arange(7).flip(0)[None].expand(2, 7)

    padded = other(ids, attention_mask=mask.long()).last_hidden_state
    apart = other(ids, attention_mask=square[:, None], position_ids=places).last_hidden_state

    torch.testing.assert_close(mine(ids, mask)[mask], padded[mask], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mine(ids, square, places), apart, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("change", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_words_are_cut_as_by_transformers_also_after_writing(change, tmp_path):
    source, copy = tmp_path / "source", tmp_path / "copy"
    for folder in (source, copy):
        folder.mkdir()
    (source / "vocab.txt").write_text((VOCABULARY / "vocab.txt").read_text())
    settings = json.loads((VOCABULARY / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps(settings | change))
    mine, other = read_tokenizer(source), AutoTokenizer.from_pretrained(source)
    write_tokenizer(mine, copy)
    back = AutoTokenizer.from_pretrained(copy)

    for text in TEXTS:
        wanted = other(text, return_offsets_mapping=True)
        cut = mine.encode(text)
        assert (cut.ids, cut.offsets) == (wanted["input_ids"], wanted["offset_mapping"])
        assert read_tokenizer(copy).encode(text).ids == back(text)["input_ids"] == cut.ids
    assert back.get_vocab() == mine.get_vocab()


def test_weights_of_other_names_and_files_are_read(tmp_path):
    write_tokenizer(read_tokenizer(VOCABULARY), tmp_path)
    config = BertConfig(**{**SMALL.__dict__, "vocab_size": 1037})
    described = transformers.BertConfig.from_dict(config.to_dict())
    model = transformers.BertForMaskedLM(described)  # Its names begin with "bert.".
    word = model.bert.embeddings.word_embeddings.weight
    one, several = tmp_path, tmp_path / "several"
    model.save_pretrained(one)
    model.bert.save_pretrained(several, max_shard_size="40KB")
    write_tokenizer(read_tokenizer(VOCABULARY), several)

    for folder in (one, several):
        read = BertEncoder(str(folder), max_tokens=12)
        assert read.bert.embeddings.word_embeddings.weight.equal(word)


def test_weights_of_another_size_than_described_are_refused(tmp_path):
    write_tokenizer(read_tokenizer(VOCABULARY), tmp_path)
    theirs(BertConfig(**{**SMALL.__dict__, "vocab_size": 1037})).save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(described | {"intermediate_size": 48}))

    with pytest.raises(ValueError, match=r"of shape \[32, 16\], but .* \[48, 16\]"):
        BertEncoder(str(tmp_path), max_tokens=12)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="hidden_act='silu'"):
        BertConfig(hidden_act="silu")
