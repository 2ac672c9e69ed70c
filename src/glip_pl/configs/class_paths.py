"""Class paths of earlier versions: every old checkpoint and YAML file goes on loading.

Configurations name classes by their import path, and checkpoints and folders of weights keep these
names for good. A class that moves leaves its old path here.
"""

from functools import cache
from typing import Any

from glip_pl.configs.moved import HANDED_ON, current_data, current_model

# What was at "glip_pl.<old>" is at "glip_pl.<new>": modules, and classes that were renamed.
_MOVED = {
    "callbacks": "training.callbacks",
    "data.coco": "data.datasets.detection",
    "data.CocoDetection": "data.CategoryDetection",
    "data.coco.CocoDetection": "data.CategoryDetection",
    "data.dataset": "data.datasets.base",
    "data.described": "data.datasets.described",
    "data.lvis": "data.datasets.lvis_detection",
    "data.phrases": "data.datasets.phrases",
    "data.referring": "data.datasets.referring",
    "metrics.detection": "metrics.coco_ap",
    "metrics.lvis": "metrics.lvis_ap",
    "metrics.recall": "metrics.phrase_recall",
    "metrics.referring": "metrics.referring_accuracy",
    "optim": "training.optim",
    "postprocess": "inference.postprocess",
    "task": "training.task",
}

# Arguments that are gone, by class: a configuration may go on giving the value that they had.
_RETIRED = {"fusion_plugins.deep.DeepFusion": {"direction": "both"}}


def current_path(path: str) -> str:
    """Return where a class lies today; what never moved is returned as it is."""
    package, _, rest = path.partition(".")
    if package != "glip_pl":
        return path
    parts = rest.split(".")
    # A class that was renamed comes before the module that it was in.
    for count in range(len(parts), 0, -1):
        if (moved := _MOVED.get(".".join(parts[:count]))) is not None:
            return ".".join([package, moved, *parts[count:]])
    return path


def with_current_paths(described: Any) -> Any:
    """Return a configuration of nested dicts and lists in today's words.

    Every ``class_path`` is that of today, and arguments that are gone are left out, unless they
    have a value that nothing does today: the parser then names it. What a model and data
    once handed on to their parts stands where these are described.
    """
    if isinstance(described, dict):
        described = _with_current_options(described)
        current = {key: with_current_paths(value) for key, value in described.items()}
        if isinstance(path := current.get("class_path"), str):
            current["class_path"] = current_path(path)
            if isinstance(given := current.get("init_args"), dict):
                retired = _RETIRED.get(current["class_path"], {})
                current["init_args"] = {
                    name: value
                    for name, value in given.items()
                    if name not in retired or value != retired[name]
                }
        return current
    if isinstance(described, list):
        return [with_current_paths(value) for value in described]
    return described


def _with_current_options(described: dict[str, Any]) -> dict[str, Any]:
    """Move what model and data of a file or of a checkpoint handed on to their parts."""
    if {"backbone", "text", "fusion"} <= described.keys():
        # A checkpoint, in which the plugin's own arguments have what it was given, too.
        own = {name: value for name, value in described.items() if name not in HANDED_ON}
        return current_model(own, whole=True)
    if isinstance(data := described.get("data"), dict):
        described = {**described, "data": current_data(data)}
    model = described.get("model")
    if not isinstance(model, dict):
        return described
    handed_on = {name: model[name] for name in HANDED_ON if name in model}
    kept = {name: value for name, value in model.items() if name not in handed_on}
    current = {**described, "model": current_model(kept, whole=False)}
    if handed_on:
        current["fusion_defaults"] = {**handed_on, **described.get("fusion_defaults", {})}
    return current


@cache  # A second call would wrap the loader of the first.
def accept_moved_classes() -> None:
    """Let the parser read configuration files with the class paths of earlier versions."""
    import yaml
    from jsonargparse import get_loader, set_loader  # Slow to import, and of use to commands alone.

    load = get_loader("yaml")

    def load_with_current_paths(text: str) -> Any:
        return with_current_paths(load(text))

    # A value that is no YAML, "[a cat] on a sofa", is then taken as a text.
    set_loader("yaml", load_with_current_paths, exceptions=(yaml.YAMLError,))
