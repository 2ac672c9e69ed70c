"""LoRA: a frozen weight W learns through a small addition, W + s·U·D with U [rows, r], D [r, cols].

The addition is a parametrization of PyTorch, and no layer of its own. Whoever reads a weight reads
W + s·U·D then, also code that takes weights as tensors: the exchange of image and text folds its
projections into each other, and Swin's layers run fused on a CPU. Layers that wrap a layer would be
bypassed there in silence. See LoRA (https://arxiv.org/abs/2106.09685).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# How PyTorch names what belongs to a parametrized weight: "query.parametrizations.weight.original".
_PARAMETRIZED = re.compile(r"^(|.*\.)parametrizations\.([^.]+)\.(.+)$")
_ORIGINAL = "original"


@dataclass(frozen=True)
class LoraSettings:
    """How large the additions are.

    Attributes:
        rank: r; more learns more and costs more.
        alpha: s is alpha / r, so that another rank needs no other learning rate.
    """

    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(
                f"model.tuning.lora.rank={self.rank} adds nothing; give 1 or more, often 8"
            )


class Adapter(nn.Module):
    """What is added to one weight.

    Attributes:
        scale: s, a tensor of one number; 0 switches the addition off.
    """

    scale: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def addition(self) -> Tensor:
        """Compute what is added, in any shape of as many numbers as the weight has."""
        raise NotImplementedError

    def forward(self, weight: Tensor) -> Tensor:
        """Add to a weight; in its own precision, whatever autocast is for."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.scale * self.addition()).view_as(weight).to(weight.dtype)


class LowRank(Adapter):
    """U·D, for a matrix or a kernel seen as one: rows are outputs, all else is columns."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__(scale)
        rows, columns = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def addition(self) -> Tensor:
        """Compute U·D, [rows, columns]."""
        return self.up @ self.down


class Shift(Adapter):
    """A free addition, for vectors and for kernels so small that a low rank would save nothing."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(1.0)
        self.shift = nn.Parameter(torch.zeros_like(weight))

    def addition(self) -> Tensor:
        """Return the shift itself, in the shape of the weight."""
        return self.shift


def attach(modules: Sequence[nn.Module], settings: LoraSettings, *, vectors: bool = False) -> None:
    """Add an adapter that changes nothing yet to every weight that could learn, and freeze these.

    Adapted are matrices and kernels, but no tables that are looked up. A second call adds further
    adapters beside the first, which then stay as they are.

    Args:
        modules: Those of a part of a model, at any depth.
        settings: How large the additions are.
        vectors: Whether biases, scales and norms learn, too.
    """
    chosen = [
        (holder, name)
        for holder in modules
        if not isinstance(holder, (nn.Embedding, Adapter, parametrize.ParametrizationList))
        for name, weight in _own_weights(holder)
        if weight.requires_grad and (vectors or weight.ndim >= 2)
    ]
    for holder in modules:
        for parameter in holder.parameters(recurse=False):
            parameter.requires_grad_(False)
    for holder, name in chosen:
        add_adapter(holder, name, _adapter(getattr(holder, name).detach(), settings))


def add_adapter(holder: nn.Module, name: str, adapter: Adapter) -> None:
    """Let a weight be read with an addition."""
    parametrize.register_parametrization(holder, name, adapter)


def adapters(module: nn.Module) -> Iterator[tuple[str, Adapter]]:
    """List the adapters of a module, by the path of their weight."""
    for path, holder in module.named_modules():
        if parametrize.is_parametrized(holder):
            assert isinstance(holder.parametrizations, nn.ModuleDict)
            for name, listed in holder.parametrizations.items():
                for adapter in listed:  # type: ignore[attr-defined]
                    if isinstance(adapter, Adapter):
                        yield f"{path}.{name}" if path else name, adapter


def merge(module: nn.Module) -> None:
    """Make the additions a part of the weights, which then have their old names."""
    _detach(module, merged=True)


def detach(module: nn.Module) -> None:
    """Take the additions off: the weights are what they were, and learn again."""
    _detach(module, merged=False)


def base_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as it was before adapters were added: old names, old values."""
    base = {}
    for name, value in state.items():
        found = _PARAMETRIZED.match(name)
        if found is None:
            base[name] = value
        elif found[3] == _ORIGINAL:
            base[found[1] + found[2]] = value
    return base


def merged_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with all additions made a part of the weights: old names, new values."""
    merged = base_state(state)
    for weight, addition in _additions(state):
        value = merged[weight]
        merged[weight] = value + addition.view_as(value).to(value.dtype)
    return merged


def is_adapted(state: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict has weights with adapters."""
    return any(_PARAMETRIZED.match(name) for name in state)


def _own_weights(holder: nn.Module) -> list[tuple[str, Tensor]]:
    """List the weights that a module itself holds, without their additions."""
    own: list[tuple[str, Tensor]] = list(holder.named_parameters(recurse=False))
    if parametrize.is_parametrized(holder):
        assert isinstance(holder.parametrizations, nn.ModuleDict)
        own += [
            (name, listed.original)  # type: ignore[misc]
            for name, listed in holder.parametrizations.items()
        ]
    return own


def _adapter(weight: Tensor, settings: LoraSettings) -> Adapter:
    saved = settings.rank * (weight.shape[0] + weight[0].numel()) if weight.ndim >= 2 else 0
    if weight.ndim < 2 or saved >= weight.numel():
        return Shift(weight)
    return LowRank(weight, settings.rank, settings.alpha / settings.rank)


def _detach(module: nn.Module, *, merged: bool) -> None:
    for holder in list(module.modules()):
        if not parametrize.is_parametrized(holder):
            continue
        assert isinstance(holder.parametrizations, nn.ModuleDict)
        for name in list(holder.parametrizations):
            with torch.no_grad():
                parametrize.remove_parametrizations(holder, name, leave_parametrized=merged)
            getattr(holder, name).requires_grad_(True)


def _additions(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Walk over all additions of a state dict, each with the name of its weight."""
    for name, scale in state.items():
        found = _PARAMETRIZED.match(name)
        if found is not None and found[3].endswith(".scale"):
            stem = name.removesuffix("scale")
            if f"{stem}shift" in state:
                addition = state[f"{stem}shift"]
            else:
                addition = state[f"{stem}up"] @ state[f"{stem}down"]
            yield found[1] + found[2], scale * addition
