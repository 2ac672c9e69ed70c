"""The models of a server: exported folders and weights of any other kind, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glip_pl.runtime import Runtime
from glip_pl.runtime.folder import DESCRIPTION
from glip_pl.serving.engine import Engine, predictor_engine, runtime_engine


@dataclass(frozen=True)
class Served:
    """A model that is ready to answer.

    Attributes:
        engine: Answers.
        class_names: What its training data named; empty where that is not known.
    """

    engine: Engine
    class_names: tuple[str, ...]


def open_models(sources: Sequence[str], *, device: str = "auto") -> dict[str, Served]:
    """Open models by the names that requests call them.

    Args:
        sources: Folders that `glip export` wrote, which need no PyTorch, or what `glip_pl.load`
            opens; with "name=" before one, that is its name.
        device: Of the models that are not exported.

    Raises:
        ValueError: There is none, two have one name, or one cannot be opened.
    """
    named = [_named(source) for source in sources]
    names = [name for name, _ in named]
    if not names:
        raise ValueError("--weights names no model; pass --weights=[late.ckpt,deep.ckpt]")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"--weights has several models called {', '.join(twice)}; write a name before each, "
            f"--weights=[{names[0]}={named[0][1]},other={named[-1][1]}]"
        )
    return {name: _open(source, device) for name, source in named}


def _open(source: str, device: str) -> Served:
    if (Path(source) / DESCRIPTION).is_file():
        exported = Runtime(source)
        return Served(runtime_engine(exported), exported.description.class_names)
    from glip_pl.inference.predictor import load  # PyTorch, which exported models do without.

    model = load(source, device=device)
    return Served(predictor_engine(model), model.class_names)


def _named(source: str) -> tuple[str, str]:
    """Split "name=source"; a checkpoint in the folder of its run has the name of the run."""
    name, equals, rest = source.partition("=")
    if equals:
        return name, rest
    path = Path(source)
    if path.parent.name == "checkpoints" and len(path.parents) > 3:
        return path.parents[2].name, source
    return path.stem if path.suffix in (".ckpt", ".pth") else path.name, source
