"""A state dict in transformers' form turned into one of ours, and back, tensor by tensor."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from glip_pl.model import GLIP
from glip_pl.weights.conversion import Conversion, convert_tensors
from glip_pl.weights.transformers_form.parameter_names import (
    ALIGNMENT_BIAS,
    BUILT_HERE,
    QKV,
    other_names,
    transformers_names,
)

# Tensors without a counterpart here, each with the reason.
DROPPED = (
    (r"\.relative_position_index$", "a constant, worked out from the window size"),
    (r"\.embeddings\.position_ids$", "a constant, 0 to 511"),
    (r"\.conv_encoder\.model\.(swin\.)?layernorm\.", "never used: every map has its own norm"),
    (r"^model\.text_backbone\.pooler\.", "never used: tokens are read, not the pooled text"),
    (r"^(model\.decoder\.)?(bbox|class)_embed\.", "a second name of a head that is shared"),
)


def from_transformers(state: Mapping[str, Tensor], model: GLIP) -> Conversion:
    """Convert a state dict for a model of its architecture.

    Args:
        state: transformers' names to tensors, as its files have them.
        model: Tells names and shapes; it may live on the meta device.

    Raises:
        ValueError: A tensor is missing, has another shape, or is of no known use.
    """
    ours = {name: value for name, value in model.state_dict().items() if not BUILT_HERE.match(name)}
    sources = {
        name: tuple(_find(source, state) for source in transformers_names(name)) for name in ours
    }
    return convert_tensors(
        *(state, ours, sources),
        join=_here,
        reason=_reason,
        refusal=lambda what: (
            f"the checkpoint does not fit its config.json: {what}; give the files "
            "of one published model, or those that `save_pretrained` wrote"
        ),
    )


def to_transformers(model: GLIP) -> dict[str, Tensor]:
    """Return the state dict that transformers would save for a model.

    Raises:
        ValueError: It is none of the family.
    """
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if not BUILT_HERE.match(name):
            state |= transformers_tensors(name, value)
    return state


def transformers_tensors(name: str, value: Tensor) -> dict[str, Tensor]:
    """Turn one of our parameters, or its gradient, into the tensors that hold it there.

    Raises:
        ValueError: It is no parameter of the family.
    """
    try:
        names = transformers_names(name)
    except KeyError:
        raise ValueError(
            f"the model has the parameter {name!r}, which no Grounding DINO has; only models of "
            "the parts of --model=grounding_dino_t go to transformers' form"
        ) from None
    values = list(value.chunk(3)) if QKV.search(name) else [value]
    if ALIGNMENT_BIAS.match(name):
        values = [value.squeeze(0)]
    return dict(zip(names, values, strict=True))


def _find(name: str, state: Mapping[str, Tensor]) -> str:
    """Look a tensor up by its first name, or by another."""
    return next((n for n in (name, *other_names(name)) if n in state), name)


def _here(name: str, values: list[Tensor]) -> Tensor:
    if ALIGNMENT_BIAS.match(name):
        return values[0].reshape(1)
    return torch.cat(values) if QKV.search(name) else values[0]


def _reason(name: str) -> str | None:
    return next((reason for pattern, reason in DROPPED if re.search(pattern, name)), None)
