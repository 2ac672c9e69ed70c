import json
import re

import pytest
import torch
import yaml
from helpers import CONFIGS
from parity import dino_oracle as small
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection

from glip_pl.text.tokenizers import PhraseTokenizer
from glip_pl.weights import read_weights
from glip_pl.weights.convert import convert
from glip_pl.weights.transformers_form.architecture import DINO_ARCHITECTURES

CLASSES = {
    "grounding-dino": GroundingDinoForObjectDetection,
    "mm-grounding-dino": MMGroundingDinoForObjectDetection,
}


@pytest.fixture(scope="module", params=small.FAMILIES)
def family(request, tmp_path_factory):
    """A model of transformers, and the folder that it was saved to."""
    model = small.oracle(request.param)
    return model, small.save(model, tmp_path_factory.mktemp(request.param) / "model")


def unpadded(own):
    """One image without padding, where positions of queries are the oracle's."""
    given = small.inputs(own)
    return small.Inputs(given.images[:1], given.mask[:1], given.prompts[:1], given.tokens.pick([0]))


def test_what_transformers_saves_is_read_here_with_the_same_outputs(family):
    theirs, folder = family
    own = read_weights(str(folder)).build()
    given = unpadded(own)

    with torch.no_grad():
        logits = own(given.images, given.mask, given.tokens).logits
        expected = theirs(**given.for_oracle(own)).logits[..., : logits.shape[-1]]

    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_what_is_written_back_is_read_by_transformers_with_the_same_outputs(family, tmp_path):
    theirs, folder = family
    convert(str(folder), str(tmp_path / "here"))
    convert(str(tmp_path / "here"), str(tmp_path / "back"), form="transformers")
    own = read_weights(str(tmp_path / "here")).build()
    again = CLASSES[theirs.config.model_type].from_pretrained(tmp_path / "back").eval()
    given = unpadded(own).for_oracle(own)

    with torch.no_grad():
        found, expected = again(**given), theirs(**given)

    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.pred_boxes, expected.pred_boxes)


def test_the_receipt_names_every_tensor_of_the_source(family, tmp_path):
    _, folder = family

    convert(str(folder), str(tmp_path / "here"))

    receipt = json.loads((tmp_path / "here/receipt.json").read_text())
    named = {name for entry in receipt["tensors"].values() for name in entry["official"]}
    assert named | set(receipt["dropped"]) == set(load_file(folder / "model.safetensors"))


def changed(folder, target, **configured):
    """A copy of a folder with another config.json."""
    target.mkdir()
    for path in folder.iterdir():
        if path.name != "config.json":
            (target / path.name).symlink_to(path)
    described = json.loads((folder / "config.json").read_text()) | configured
    (target / "config.json").write_text(json.dumps(described))
    return str(target)


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ({"model_type": "detr"}, "a model of type 'detr'"),
        ({"position_embedding_type": "learned"}, "position_embedding_type='learned'"),
        ({"decoder_layers": 1}, "decoder_layers=1; only models with decoder_layers=2"),
        ({"encoder_ffn_dim": 32, "decoder_ffn_dim": 32}, "has other shapes: fusion"),
        ({"num_queries": 10}, "has other shapes: fusion.content.weight"),
    ],
)
def test_a_config_of_another_model_is_refused(family, tmp_path, configured, message):
    with pytest.raises(ValueError, match=message):
        read_weights(changed(family[1], tmp_path / "other", **configured))


@pytest.mark.parametrize("lost", [True, False])
def test_a_missing_and_a_foreign_tensor_are_named(family, tmp_path, lost):
    state = load_file(family[1] / "model.safetensors")
    if lost:
        del state["model.level_embed"]
    else:
        state["model.adapter.weight"] = torch.zeros(1)
    folder = tmp_path / "other"
    changed(family[1], folder)
    (folder / "model.safetensors").unlink()
    save_file(state, folder / "model.safetensors")

    what = r"lacks model\.level_embed" if lost else r"has unknown model\.adapter\.weight"
    with pytest.raises(ValueError, match=what):
        read_weights(str(folder))


def test_the_other_family_is_refused(family, tmp_path):
    model, folder = family
    other = {"grounding-dino": "mm-grounding-dino"}.get(model.config.model_type, "grounding-dino")

    with pytest.raises(ValueError, match=r"does not fit its config\.json"):
        read_weights(changed(folder, tmp_path / "other", model_type=other))


def test_a_damaged_file_is_refused(family, tmp_path):
    folder = tmp_path / "other"
    changed(family[1], folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(b"cut short")

    with pytest.raises(ValueError, match="cannot be read"):
        read_weights(str(folder))


@pytest.mark.parametrize("name", DINO_ARCHITECTURES)
def test_the_model_of_a_name_is_that_of_the_published_weights(name):
    described = yaml.safe_load((CONFIGS / f"model/{name}.yaml").read_text())["model"]
    expected = DINO_ARCHITECTURES[name].hyper_parameters()

    for part in ("backbone", "neck", "fusion"):
        own, theirs = described[part], expected[part]
        assert own["class_path"] == theirs["class_path"]
        given = own["init_args"]
        assert given == {key: theirs["init_args"][key] for key in given}


def test_a_folder_without_words_is_told(family, tmp_path):
    folder = tmp_path / "other"
    changed(family[1], folder)
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ValueError, match=r"has neither of tokenizer\.json, vocab\.txt"):
        read_weights(str(folder))


@pytest.mark.parametrize("lost", [".", "?", "[UNK]"])
def test_a_tokenizer_without_a_token_that_phrases_need_is_refused(family, lost):
    described = json.loads((family[1] / "tokenizer.json").read_text())
    words = described["model"]["vocab"]
    words["lost"] = words.pop(lost)
    described["added_tokens"] = [t for t in described["added_tokens"] if t["content"] != lost]

    with pytest.raises(ValueError, match=re.escape(f"has no token for {lost}, without which")):
        PhraseTokenizer(Tokenizer.from_str(json.dumps(described)), 64)
