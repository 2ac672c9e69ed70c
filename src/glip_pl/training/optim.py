"""Learning rates: one per part of the model, with a warm-up and a schedule over the whole run."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn


class Schedule(ABC):
    """How the learning rate changes over a run."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """Give the factor of the base learning rate at a progress from 0 to 1."""


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
        lr: Of the pyramid, the fusion plugin and the head.
        backbone_lr: Of the backbone.
        text_lr: Of the text encoder.
        weight_decay: Of what `decayed` names; everything else has none.
        warmup_steps: Steps over which the learning rates rise linearly from a thousandth.
        bias_lr_factor: What the learning rate of biases is multiplied by.
        decayed: Matrices and kernels alone, or all parameters but biases.
    """

    lr: float = 1e-4
    backbone_lr: float = 1e-4
    text_lr: float = 1e-5
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    bias_lr_factor: float = 1.0
    decayed: Literal["matrices", "all_but_biases"] = "matrices"

    def warmup(self, step: int) -> float:
        """Give the factor of the learning rates at a step."""
        return min(1.0, 0.001 + 0.999 * step / max(self.warmup_steps, 1))

    def groups(self, model: nn.Module) -> list[dict[str, object]]:
        """Group trainable parameters by part (the first name of their path), rate and decay."""
        rates = {"backbone": self.backbone_lr, "text": self.text_lr}
        groups: dict[tuple[str, bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                part = name.partition(".")[0]
                is_bias = "bias" in name
                decays = parameter.ndim > 1 if self.decayed == "matrices" else not is_bias
                own_rate = is_bias and self.bias_lr_factor != 1
                key = (part if part in rates else "head", own_rate, decays)
                groups.setdefault(key, []).append(parameter)
        return [
            {
                "params": parameters,
                "name": part + "/bias" * own_rate + "/no_decay" * (not decays),
                "lr": rates.get(part, self.lr) * (self.bias_lr_factor if own_rate else 1),
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for (part, own_rate, decays), parameters in groups.items()
        ]
