"""A state dict of official GLIP turned into one of ours, and back, tensor by tensor."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from glip_pl.boxes import inclusive
from glip_pl.model import GLIP
from glip_pl.text.tuned_prompt import TunedPrompt
from glip_pl.weights.conversion import Conversion, convert_tensors
from glip_pl.weights.official.parameter_names import (
    BUILT_HERE,
    LEVEL_SCALE,
    LINEAR_HEADS,
    PROMPT,
    TUNED_PROMPT,
    official_name,
    official_scales,
)

# Tensors without a counterpart here, each with the reason.
DROPPED = (
    (r"\.relative_position_index$", "a constant, worked out from the window size"),
    (r"\.embeddings\.position_ids$", "a constant, 0 to 511"),
    (r"^rpn\.anchor_generator\.", "a constant, worked out from the strides"),
    (r"\.(attn_mask|num_batches_tracked)$", "worked out for each image"),
    (r"^rpn\.head\.cls_logits\.", "never trained: the token head takes its place"),
    (r"^language_backbone\..*\.pooler\.", "never used: GLIP reads tokens, not the pooled text"),
    (r"^rpn\.head\.mlm_head\.", "serves a loss of pre-training alone"),
    (r"^rpn\.(resizer|loss_evaluator)\.", "serves a loss of pre-training alone"),
)
STRIDES = (8, 16, 32, 64, 128)
# Rows of the official table of prompt tuning; the prompt that they are for stands nowhere.
_POSITIONS = 1000


def from_official(state: Mapping[str, Tensor], model: GLIP, *, deep: bool) -> Conversion:
    """Convert a state dict for a model of its architecture.

    Args:
        state: Official names, without the prefix "module.", to tensors.
        model: Tells names and shapes; it may live on the meta device.
        deep: Whether its fusion is deep.

    Raises:
        ValueError: A tensor is missing, has another shape, or is of no known use.
    """
    if TUNED_PROMPT in state and model.prompt is None:
        model.prompt = TunedPrompt(*state[TUNED_PROMPT].shape)
    ours = {name: value for name, value in model.state_dict().items() if not BUILT_HERE.match(name)}
    sources = {name: _sources(name, value, deep=deep) for name, value in ours.items()}
    return convert_tensors(
        *(state, ours, sources),
        join=_here,
        reason=_reason,
        refusal=lambda what: (
            f"the checkpoint is not one of official GLIP: {what}; give a file of "
            "the released models, or one that their code wrote"
        ),
    )


def to_official(model: GLIP, *, deep: bool) -> dict[str, Tensor]:
    """Return the state dict that official GLIP would save for a model, constants included."""
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if not BUILT_HERE.match(name):
            state |= official_tensors(name, value, deep=deep)
    for name, buffer in model.named_buffers():
        if name.endswith("relative_position_index"):
            state[official_name(name, deep=deep)] = buffer
    for level, stride in enumerate(STRIDES):
        # The first anchor of a level: eight cells wide, around the first cell.
        anchor = torch.tensor([[-3.5, -3.5, 4.5, 4.5]]) * stride
        state[f"rpn.anchor_generator.cell_anchors.{level}"] = inclusive(anchor)
    positions = state["language_backbone.body.model.embeddings.position_embeddings.weight"]
    state["language_backbone.body.model.embeddings.position_ids"] = torch.arange(len(positions))[
        None
    ]
    # What its constructor gives a head for 80 classes, which nothing reads.
    width = model.head.box_offset.in_features
    state["rpn.head.cls_logits.weight"] = torch.zeros(80, width, 1, 1)
    state["rpn.head.cls_logits.bias"] = torch.full((80,), -4.59512)
    return state


def official_tensors(name: str, value: Tensor, *, deep: bool) -> dict[str, Tensor]:
    """Turn one of our parameters, or its gradient, into the tensors that hold it officially."""
    if name == LEVEL_SCALE:
        values = list(torch.split(value, 1))
    elif name == PROMPT:
        missing = max(_POSITIONS - len(value), 0)
        values = [torch.nn.functional.pad(value, (0, 0, 0, missing))]
    else:
        values = [value[..., None, None]] if name in LINEAR_HEADS else [value]
    return dict(zip(_sources(name, value, deep=deep), values, strict=True))


def _sources(name: str, value: Tensor, *, deep: bool) -> tuple[str, ...]:
    if name == LEVEL_SCALE:
        return tuple(official_scales(len(value)))
    return (official_name(name, deep=deep),)


def _here(name: str, values: list[Tensor]) -> Tensor:
    if name == LEVEL_SCALE:
        return torch.cat(values)
    # A 1x1 convolution of a head is a linear layer here.
    return values[0].flatten(1) if name in LINEAR_HEADS else values[0]


def _reason(name: str) -> str | None:
    return next((reason for pattern, reason in DROPPED if re.search(pattern, name)), None)
