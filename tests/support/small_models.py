"""Small models of every kind, for tests of what is done to a model."""

from functools import partial

import torch
from helpers import make_sample
from torch import nn

from fusion_plugins.deep import DeepFusion
from fusion_plugins.late import LateFusion
from fusion_plugins.query import QueryFusion
from glip_pl.backbones import FPN, SwinBackbone, TinyBackbone
from glip_pl.data.collate import collate
from glip_pl.model import GLIP
from glip_pl.text import TinyBert
from glip_pl.tuning.lora import LoraSettings
from glip_pl.tuning.modes import Tuning

FUSIONS = {
    "late": (LateFusion, {"num_layers": 1}),
    "deep": (DeepFusion, {"num_layers": 1, "num_heads": 2, "dropout": 0.0}),
    "query": (
        QueryFusion,
        {"num_queries": 6, "min_stride": 8, "num_layers": 1, "num_heads": 2, "dropout": 0.0},
    ),
}


def built(fusion="deep", *, swin=False):
    torch.manual_seed(0)
    kind, arguments = FUSIONS[fusion]
    backbone = TinyBackbone(16)
    if swin:
        backbone = SwinBackbone(16, (1, 1, 2, 1), num_heads=(1, 1, 2, 2), window=4, drop_path=0.0)
    text = TinyBert(d_text=64, num_layers=1)
    model = GLIP(
        backbone,
        text,
        fusion=kind(d_model=32, d_text=64, **arguments),
        d_model=32,
        neck=partial(FPN, extra_levels=0),
    )
    for name, parameter in model.named_parameters():
        if "level_attention.bias" in name:
            nn.init.constant_(parameter, 1.0)  # Its ReLU passes a gradient.
    return model.eval()


def adapted(*arguments, **options):
    model = built(*arguments, **options)
    Tuning("lora", lora=LoraSettings(rank=2)).prepare(model, lambda: None)
    return model.eval()


def inputs(model):
    pixels = torch.randint(0, 256, (1, 3, 32, 64), generator=torch.Generator().manual_seed(1))
    batch = collate([make_sample([], ["cat", "old dog"])], model.text.tokenizer)
    return pixels.byte(), torch.ones(1, 32, 64, dtype=torch.bool), batch.tokens


def outputs(model):
    """All that the head says; without gradients, so that the fast paths of a CPU are taken."""
    with torch.no_grad():
        said = model(*inputs(model))
    return torch.cat([said.logits.flatten(), said.boxes.flatten(), said.centerness.flatten()])
