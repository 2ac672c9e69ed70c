"""Learning rates: one per part of the model, with a warm-up and a schedule over the whole run.

A run ends after epochs, steps (`trainer.max_steps`) or a time (`trainer.max_time`), whichever comes
first, and its schedule ends with it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from glip_pl.training.budget import time_spent


class Schedule(ABC):
    """How the learning rate changes over a run."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """Return the factor of the base learning rate at a progress from 0 to 1."""


class Cosine(Schedule):
    """Fall from 1 to `final` along half a cosine."""

    def __init__(self, final: float = 0.01) -> None:
        self.final = final

    def __call__(self, progress: float) -> float:
        """See `Schedule`."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(progress, 1))) / 2


class Steps(Schedule):
    """Multiply by `gamma` at each milestone; GLIP pre-trains with 0.67 and 0.89."""

    def __init__(self, milestones: Sequence[float] = (0.67, 0.89), gamma: float = 0.1) -> None:
        self.milestones = tuple(milestones)
        self.gamma = gamma

    def __call__(self, progress: float) -> float:
        """See `Schedule`."""
        return float(self.gamma ** sum(progress >= milestone for milestone in self.milestones))


@dataclass(frozen=True)
class Plateau:
    """Multiply by `factor` once the validation score has not risen for more than `patience` epochs.

    GLIP fine-tunes on small sets like this, without a warm-up.
    """

    patience: int = 3
    factor: float = 0.1
    min_lr: float = 1e-6


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW, as GLIP trains.

    A bias is every parameter with "bias" in its name, which takes in Swin's tables of relative
    position biases and the biases of the head. Official GLIP has `bias_lr_factor` 2 and decays all
    but them, norm weights too.

    Attributes:
        lr: Of the pyramid, the fusion plugin and the head, where these have none of their own.
        backbone_lr: Of the backbone.
        text_lr: Of the text encoder.
        fpn_lr: Of the pyramid.
        fusion_lr: Of the fusion plugin.
        head_lr: Of the head.
        prompt_lr: Of the offsets of a tuned prompt; 0.05 in official GLIP.
        prompt_weight_decay: Of the same; 0.25 there.
        layer_decay: What the learning rate of a layer of backbone or text encoder is multiplied by
            for each layer above it; 1 for the same rate everywhere. Fine-tuned transformers often
            have 0.7 to 0.9, so that what is general changes least (arXiv 2003.10555).
        weight_decay: Of what `decayed` names; everything else has none.
        warmup_steps: Steps over which the learning rates rise linearly from a thousandth.
        bias_lr_factor: What the learning rate of biases is multiplied by.
        decayed: Matrices and kernels alone, or all parameters but biases.
    """

    lr: float = 1e-4
    backbone_lr: float = 1e-4
    text_lr: float = 1e-5
    fpn_lr: float | None = None
    fusion_lr: float | None = None
    head_lr: float | None = None
    prompt_lr: float = 0.05
    prompt_weight_decay: float = 0.25
    layer_decay: float = 1.0
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    bias_lr_factor: float = 1.0
    decayed: Literal["matrices", "all_but_biases"] = "matrices"

    def warmup(self, step: int) -> float:
        """Return the factor of the learning rates at a step."""
        return min(1.0, 0.001 + 0.999 * step / max(self.warmup_steps, 1))

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Group trainable parameters by part (the first name of their path), rate and decay."""
        rates = self._rates()
        below = {
            f"{part}.{name}": count
            for part in ("backbone", "text")
            if self.layer_decay != 1 and hasattr(model, part)
            for name, count in layers_above(getattr(model, part)).items()
        }
        groups: dict[tuple[str, int, bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                part = name.partition(".")[0]
                is_bias = "bias" in name
                decays = parameter.ndim > 1 if self.decayed == "matrices" else not is_bias
                own_rate = is_bias and self.bias_lr_factor != 1
                key = (part if part in rates else "head", below.get(name, 0), own_rate, decays)
                groups.setdefault(key, []).append(parameter)
        return [
            {
                "params": parameters,
                "name": part
                + (f"/layer-{above}" if above else "")
                + "/bias" * own_rate
                + "/no_decay" * (not decays),
                "lr": rates.get(part, self.lr)
                * self.layer_decay**above
                * (self.bias_lr_factor if own_rate else 1),
                "weight_decay": self._decay(part) if decays else 0.0,
            }
            for (part, above, own_rate, decays), parameters in groups.items()
        ]

    def _rates(self) -> dict[str, float]:
        """Look up the parts that have a rate of their own."""
        own = {
            "backbone": self.backbone_lr,
            "text": self.text_lr,
            "fpn": self.fpn_lr,
            "fusion": self.fusion_lr,
            "head": self.head_lr,
            "prompt": self.prompt_lr,
        }
        return {part: rate for part, rate in own.items() if rate is not None}

    def _decay(self, part: str) -> float:
        return self.prompt_weight_decay if part == "prompt" else self.weight_decay


def configured(
    groups: Sequence[dict[str, Any]],
    settings: OptimizerSettings,
    schedule: Schedule | Plateau,
    trainer: Trainer,
) -> OptimizerLRSchedulerConfig:
    """Return AdamW and its schedule as Lightning takes them.

    Args:
        groups: Parameters, as `OptimizerSettings.groups` returns them.
        settings: Learning rates and warm-up.
        schedule: How they change after the warm-up.
        trainer: Knows how long the run is.
    """
    # The fused step is the fastest and takes no memory, but Lightning refuses to clip gradients for
    # it in mixed precision; None lets torch choose.
    fused = None if isinstance(trainer.precision_plugin, MixedPrecision) else True
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=0.0, fused=fused)
    if isinstance(schedule, Plateau):
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": ReduceLROnPlateau(optimizer, mode="max", **asdict(schedule)),
                "interval": "epoch",
                # An epoch without validation has no new score to judge by.
                "frequency": trainer.check_val_every_n_epoch or 1,
                "monitor": "val/score",
            },
        }
    total = trainer.estimated_stepping_batches

    # Every group of parameters asks; processes agree on the time once a step.
    @lru_cache(maxsize=1)
    def progress(step: int) -> float:
        return max(step / total, time_spent(trainer))

    def factor(step: int) -> float:
        return settings.warmup(step) * schedule(progress(step))

    scheduler = LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def layers_above(module: nn.Module) -> dict[str, int]:
    """Count for every parameter of an encoder the layers that stand above its own.

    Layers are the entries of the innermost lists of modules, in their order: the blocks of a Swin,
    the layers of a BERT, the stages of a ResNet. What stands before the first counts as below it,
    and what follows a layer (a merge, a norm) as a part of it.
    """
    lists = [
        f"{path}." if path else ""
        for path, part in module.named_modules()
        if type(part) is nn.ModuleList  # Weights with additions have lists of another type.
    ]
    innermost = [path for path in lists if not any(o != path and o.startswith(path) for o in lists)]
    depth, last, seen = {}, 0, set[str]()
    for name, _ in module.named_parameters():
        for path in innermost:
            if name.startswith(path):
                entry = path + name.removeprefix(path).partition(".")[0]
                if entry not in seen:
                    seen.add(entry)
                    last += 1
        depth[name] = last
    return {name: last - own for name, own in depth.items()}
