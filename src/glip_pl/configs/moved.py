"""Options that have moved: commands, files and checkpoints of before go on working.

What the model once took only to hand it on belongs to the part that reads it: to the neck, to the
head, to the loss, to the tuning, or to the fusion plugin. What the data took for their training
sets belongs to the sampling.
"""

from collections.abc import Iterator, Sequence
from typing import Any

# Of fusion plugins; among ``fusion_defaults`` today, which any plugin takes what it has from.
HANDED_ON = ("num_layers", "dropout", "anchor_scale", "still_start", "checkpoint_layers")
# Below ``model``, before and today.
_MOVED = {
    "extra_levels": ("neck", "init_args", "extra_levels"),
    "drop_block": ("neck", "init_args", "drop_block"),
    "initial_temperature": ("head", "initial_temperature"),
    "initial_box_scale": ("head", "initial_box_scale"),
    "inclusive_losses": ("criterion",),
    "tune": ("tuning", "mode"),
    "freeze": ("tuning", "freeze"),
    "lora": ("tuning", "lora"),
}
# Below ``data``, before and today.
_MOVED_DATA = {
    "train_weights": ("sampling", "weights"),
    **{
        name: ("sampling", name)
        for name in ("replay", "group_by_aspect", "scale_by_batch", "stream")
    },
}
# What options of before are called today, by what they were called then.
RENAMED = {
    **{f"model.{name}": f"fusion_defaults.{name}" for name in HANDED_ON},
    **{f"model.{name}": f"model.{'.'.join(place)}" for name, place in _MOVED.items()},
    **{f"data.{name}": f"data.{'.'.join(place)}" for name, place in _MOVED_DATA.items()},
}

_FPN = "glip_pl.backbones.FPN"
# Which loss ``inclusive_losses`` meant.
_CRITERIA = {
    True: "glip_pl.training.criterion.InclusiveCriterion",
    False: "glip_pl.training.criterion.GroundingCriterion",
}


def current_options(typed: Sequence[str]) -> list[str]:
    """Return options as they are today, with the values that were typed for those of before."""
    return list(_current(iter(typed)))


def _current(tokens: Iterator[str]) -> Iterator[str]:
    for token in tokens:
        option, equals, value = token.partition("=")
        # An item that is added to a list has a "+" behind the option.
        plain, plus = option.removesuffix("+"), "+" if option.endswith("+") else ""
        section, *below = plain.removeprefix("--").split(".")
        today = RENAMED.get(".".join([section, *below[:1]]))
        if not option.startswith("--") or today is None:
            yield token
        elif today == "model.criterion":
            value = value if equals else next(tokens, "true")
            yield f"--{today}={_CRITERIA[value.lower() == 'true']}"
        else:
            yield f"--{'.'.join([today, *below[1:]])}{plus}{equals}{value}"


def current_model(described: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """Return the options below ``model`` as they are today.

    Args:
        described: The options of a checkpoint or of a file.
        whole: Whether these are all, as in a checkpoint, or what differs from others.
    """
    before = {name: value for name, value in described.items() if name in _MOVED}
    if not before:
        return described
    current = {name: value for name, value in described.items() if name not in before}
    if current.get("neck") is not None:
        # A neck of one's own never had what the pyramid was made by.
        before = {name: value for name, value in before.items() if _MOVED[name][0] != "neck"}
    for name, value in before.items():
        if value is None:
            continue
        *path, last = _MOVED[name]
        place = current
        for key in path:
            place[key] = dict(place.get(key) or {})
            place = place[key]
        place[last] = {"class_path": _CRITERIA[value]} if name == "inclusive_losses" else value
    if "extra_levels" in before or (whole and "drop_block" in before):
        current["neck"] = {"class_path": _FPN, **current["neck"]}
    return current


def current_data(described: dict[str, Any]) -> dict[str, Any]:
    """Return the options below ``data`` as they are today."""
    current = {name: value for name, value in described.items() if name not in _MOVED_DATA}
    for name, value in described.items():
        if name in _MOVED_DATA:
            group, last = _MOVED_DATA[name]
            current[group] = {**(current.get(group) or {}), last: value}
    return current
