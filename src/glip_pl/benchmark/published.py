"""The published architectures, with random weights: they time the same as trained ones."""

import torch
from pytorch_lightning.cli import instantiate_module
from torch import nn

from glip_pl.plugins import fusion_plugins
from glip_pl.training.task import GroundingTask
from glip_pl.weights.official.architecture import GLIP_L, GLIP_T, GLIP_T_A, Architecture
from glip_pl.weights.transformers_form.architecture import DINO_ARCHITECTURES, DinoArchitecture

ARCHITECTURES: dict[str, Architecture | DinoArchitecture] = {
    "glip_t_a": GLIP_T_A,
    "glip_t": GLIP_T,
    "glip_l": GLIP_L,
    **DINO_ARCHITECTURES,
}


def random_task(model: str) -> GroundingTask:
    """Build a published architecture with random weights, the same at every call.

    GLIP's head starts unbiased, so that a random model has scores to rank and boxes to suppress.
    """
    fusion_plugins()
    torch.manual_seed(0)
    task: GroundingTask = instantiate_module(GroundingTask, ARCHITECTURES[model].hyper_parameters())
    if task.model.fusion.own_head() is not None:
        return task
    nn.init.zeros_(task.model.head.get_parameter("prior_bias"))
    # Scales at which words and places make a difference, as they do in a trained model.
    nn.init.constant_(task.model.head.get_parameter("log_temperature"), -3.0)
    return task
