"""Small models with random weights, as a training run would have written them."""

from pathlib import Path

import torch

from glip_pl.weights import About, Weights
from glip_pl.weights.network import build_network

NAMES = ("red circle", "blue square", "green triangle")


def describe(fusion: str = "late.LateFusion") -> dict:
    """Describe a model that computes within milliseconds."""
    sizes = {"d_model": 16, "d_text": 32}
    return {
        "backbone": {
            "class_path": "glip_pl.backbones.TinyBackbone",
            "init_args": {"width": 8},
        },
        "text": {
            "class_path": "glip_pl.text.TinyBert",
            "init_args": {"d_text": 32, "num_layers": 1, "num_heads": 2},
        },
        "fusion": {
            "class_path": f"fusion_plugins.{fusion}",
            "init_args": {**sizes, "num_layers": 1},
        },
        **sizes,
        "neck": {"class_path": "glip_pl.backbones.FPN", "init_args": {"extra_levels": 0}},
    }


def random_weights(fusion: str = "late.LateFusion", *, seed: int = 0, **about) -> Weights:
    """Make weights whose scores spread over the whole range."""
    torch.manual_seed(seed)
    described = describe(fusion)
    network = build_network(described)
    with torch.no_grad():
        network.head.prior_bias.fill_(-0.5)
        network.head.box_offset.weight.normal_(std=0.1)
    known = {"class_names": NAMES, "short_side": 64, "max_side": 96, **about}
    return Weights(described, dict(network.state_dict()), "random", About(**known))


def write_checkpoint(path: Path, weights: Weights, **more) -> Path:
    """Write weights as a checkpoint of a training run."""
    checkpoint = {
        "state_dict": {f"model.{name}": value for name, value in weights.state.items()},
        "hyper_parameters": weights.hyper_parameters,
        "class_names": list(weights.about.class_names),
        "evaluation": {
            "short_side": weights.about.short_side,
            "max_side": weights.about.max_side,
        },
        **more,
    }
    torch.save(checkpoint, path)
    return path
