"""Options of the model that have moved: commands, files and checkpoints of before go on working.

What the model once took only to hand it on belongs to the part that reads it: to the neck, to the
head, to the loss, to the tuning, or to the fusion plugin.
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
OF_BEFORE = (*HANDED_ON, *_MOVED)

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
        name, dot, below = option.removeprefix("--model.").partition(".")
        if not option.startswith("--model.") or name not in OF_BEFORE:
            yield token
        elif name in HANDED_ON:
            yield f"--fusion_defaults.{name}{equals}{value}"
        elif name == "inclusive_losses":
            value = value if equals else next(tokens, "true")
            yield f"--model.criterion={_CRITERIA[value.lower() == 'true']}"
        else:
            yield f"--model.{'.'.join(_MOVED[name])}{dot}{below}{equals}{value}"


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
