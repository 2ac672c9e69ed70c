"""GLIP as a PyTorch Lightning application: detect and ground anything that has a name."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# What stands in which module; imported when it is asked for, since torch takes seconds.
_EXPORTS = {
    "FusionPlugin": "glip_pl.fusion",
    "GLIP": "glip_pl.model",
    "GroundingDataModule": "glip_pl.data",
    "GroundingTask": "glip_pl.training.task",
    "Options": "glip_pl.inference.options",
    "Predictor": "glip_pl.inference.predictor",
    "Result": "glip_pl.inference.result",
    "load": "glip_pl.inference.predictor",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from glip_pl.system.memory import importing

    with importing():
        return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
