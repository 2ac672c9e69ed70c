"""Whether weights belong to a model: what does not fit is named tensor by tensor."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from glip_pl.model import GLIP

_NAMED = 10  # Tensors of each kind that a message names; the rest is counted.


def load_into(
    model: GLIP, state: Mapping[str, Tensor], source: str, new: Sequence[str] = ()
) -> list[str]:
    """Load a state dict into a model.

    Args:
        model: The model.
        state: Names to tensors.
        source: Where they come from, for the message.
        new: Parts that start afresh where their tensors do not fit: "fusion", "text.embedding".

    Returns:
        The tensors of the model that kept their own values.

    Raises:
        ValueError: A tensor of another part is missing, too many, or has another shape; or a name
            in `new` is no part of the model.
    """
    model.make_room(state)  # For the offsets of a tuned prompt, which come with their weights.
    own = model.state_dict()
    for part in new:
        if not any(_is_of(name, (part,)) for name in own):
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in own))
            raise ValueError(f"the model has no part {part!r} that could be new, only {known}")
    # Official files have neither the mean colour, which the backbone knows, nor the words of a
    # tuned prompt.
    needed = [name for name in own if not name.startswith(("backbone.pixel_", "prompt."))]
    lacking = [name for name in needed if name not in state]
    foreign = [name for name in state if name not in own]
    misshapen = [
        f"{name} is {list(state[name].shape)}, not {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    wrong: dict[str, list[str]] = {
        "it lacks": lacking,
        "it has besides": foreign,
        "other shapes:": misshapen,
    }
    unfit = {
        what: [name for name in those if not _is_of(name, new)] for what, those in wrong.items()
    }
    told = [f"{what} {_some(names)}" for what, names in unfit.items() if names]
    if told:
        parts = sorted({name.partition(".")[0] for names in unfit.values() for name in names})
        raise ValueError(
            f"the weights are of another model: {source!r} does not fit, {'; '.join(told)}; choose "
            f"the MODEL and FUSION that the weights belong to, or say what is new: "
            f"--new=[{','.join(parts)}]"
        )
    fitting = {n: v for n, v in state.items() if n in own and v.shape == own[n].shape}
    model.load_state_dict(fitting, strict=False)
    return [name for name in needed if name not in fitting]


def _is_of(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} ({len(names)} in all)"
