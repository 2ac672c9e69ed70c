"""Official checkpoints of a tiny model with random weights."""

from functools import cache
from pathlib import Path

import pytest
import torch
from pytorch_lightning.cli import instantiate_module

import glip_pl.text.vocabulary
from glip_pl.text import bert_files as bert
from glip_pl.text.bert import Bert, BertConfig
from glip_pl.text.word_pieces import read_tokenizer
from glip_pl.training.task import GroundingTask
from glip_pl.weights.official.architecture import Architecture
from glip_pl.weights.official.conversion import to_official

TINY = Architecture(
    embed_dim=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window=4,
    num_layers=2,
    d_model=32,
    d_text=64,
)
LATE = Architecture(**{**TINY.__dict__, "deep": False})


def take_tiny_bert(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small BERT in the place of the released models' text encoder; other paths are read."""

    def read(pretrained, *, load_weights):
        if pretrained != bert.BERT_BASE:
            return bert.read_bert(pretrained, load_weights=load_weights)
        tokenizer = read_tokenizer(Path(glip_pl.text.vocabulary.__file__).parent)
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=64,
        )
        return bert.BertParts(config, tokenizer, Bert(config))

    monkeypatch.setattr("glip_pl.text.encoders.read_bert", read)


def official_state(architecture):
    """A random state dict as official GLIP would save it."""
    return dict(_state(architecture))


@cache
def _state(architecture):
    torch.manual_seed(0)
    task = instantiate_module(GroundingTask, architecture.hyper_parameters())
    for parameter in task.model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return {
        f"module.{name}": value.detach().clone()
        for name, value in to_official(task.model, deep=architecture.deep).items()
    }
