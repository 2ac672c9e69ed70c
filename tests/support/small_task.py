"""A small model of an official architecture, for what compares arrangements of one."""

import torch
from pytorch_lightning.cli import instantiate_module

from glip_pl.plugins import fusion_plugins
from glip_pl.training.task import GroundingTask
from glip_pl.weights.official.architecture import Architecture


def small_task():
    """An official architecture of two layers, with words from this package."""
    fusion_plugins()
    torch.manual_seed(0)
    described = Architecture(
        embed_dim=8,
        depths=(1, 2, 1, 1),
        num_heads=(1, 1, 2, 2),
        num_layers=2,
        d_model=32,
        d_text=128,
    ).hyper_parameters()
    described["text"] = {"class_path": "glip_pl.text.TinyBert", "init_args": {"d_text": 128}}
    task = instantiate_module(GroundingTask, described)
    torch.nn.init.zeros_(task.model.head.prior_bias)
    return task
