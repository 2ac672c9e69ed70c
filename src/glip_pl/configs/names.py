"""Configurations by name: ``--model=small --fusion=deep`` stands for the paths of their YAMLs.

A name belongs to one of four kinds. Models and recipes lie in folders beside this file, data sets
in ``data/`` of the project, and fusions where their plugins are installed: the YAML of a plugin
lies beside its module and has the name of its entry point; a plugin without one is used as it is.
Nothing is imported, so that a wrong name is told at once.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from glip_pl.system.entry_points import registered

HERE = Path(__file__).parent
BASE = HERE / "base.yaml"
# The order in which they are read; what comes later wins.
KINDS = ("model", "data", "fusion", "recipe")
PLUGINS = "glip_pl.fusion"
# What `glip fit` takes where a name is given, but none of this kind.
DEFAULT_MODEL, DEFAULT_FUSION = "tiny", "deep"


def data_folder() -> Path:
    """Return the folder of the data sets: ``data/`` of a checkout, and in a wheel a copy of it."""
    installed = HERE / "data"
    return installed if installed.is_dir() else HERE.parents[2] / "data"


def known(kind: str) -> dict[str, str]:
    """Return what the names of a kind stand for: the path of a YAML, or the text of one."""
    if kind == "fusion":
        return _fusions()
    folder = data_folder() if kind == "data" else HERE / kind
    return {path.stem: str(path) for path in sorted(folder.glob("*.yaml"))}


@dataclass(frozen=True)
class DescribedModel:
    """A model that no file of this project names.

    Attributes:
        source: Where it comes from.
        fusion: The class path of its fusion plugin.
        config: A file of its configuration.
    """

    source: str
    fusion: str
    config: str


def expand(command: str, args: Sequence[str], described: DescribedModel | None = None) -> list[str]:
    """Replace names by ``--config`` options, in the order base, model, data, fusion, recipe.

    Args:
        command: fit, validate or test; only `fit` needs a model that no checkpoint describes.
        args: What was typed after the command. A recipe may be several, with commas or blanks
            between.
        described: The model, where no name is that of one.

    Raises:
        ValueError: A name is not known.
    """
    chosen: dict[str, list[str]] = {kind: [] for kind in KINDS}
    rest: list[str] = []
    tokens = iter(args)
    for token in tokens:
        option, equals, value = token.partition("=")
        if option.removeprefix("--") not in KINDS or not option.startswith("--"):
            rest.append(_moved(token))
            continue
        value = value if equals else next(tokens, "")
        chosen[option.removeprefix("--")] += [n for part in value.split(",") for n in _names(part)]
    if not any(chosen.values()):
        return rest
    if command == "fit" and not chosen["model"] and described is None:
        chosen["model"] = [DEFAULT_MODEL]
    configs = {kind: [_config(kind, name) for name in names] for kind, names in chosen.items()}
    fusions = [_stem(name) for name in chosen["fusion"]]
    if described is not None:
        chosen["model"] = [Path(described.source).stem]
        configs["model"] = [described.config]
        fusions = [_plugin(described.fusion)]
    elif command == "fit" and not fusions:
        own = _fusion_of(configs["model"][-1])
        fusions = [own or DEFAULT_FUSION]
        configs["fusion"] = [] if own else [_config("fusion", DEFAULT_FUSION)]
    name = _run_name(command, {**chosen, "fusion": fusions})
    return [
        f"--config={BASE}",
        f"--trainer.logger.init_args.name={name}",
        *(f"--config={config}" for kind in KINDS for config in configs[kind]),
        *rest,
    ]


def _names(part: str) -> list[str]:
    """Part names at their blanks, but no path of a file."""
    words = part.split()
    missing = any(_is_path(word) and not Path(word).is_file() for word in words)
    return [part] if Path(part).is_file() or missing or not words else words


def _config(kind: str, name: str) -> str:
    """Return what `--config` takes for a name, or for the path of a YAML."""
    if _is_path(name):
        if not Path(name).is_file():
            raise ValueError(f"--{kind}={name}: there is no such file; correct the path")
        _read(name)  # What is wrong with it is told with its name.
        return name
    names = known(kind)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}? Choose" if close else "choose"
        raise ValueError(
            f"--{kind}={name} is not known; {hint} one of {', '.join(names)}, or pass the path of "
            "a YAML file"
        )
    return names[name]


def fusion_of_model(name: str) -> str:
    """Return the class path of the fusion that a published model brings, by its YAML."""
    import yaml

    described = yaml.safe_load((HERE / "model" / f"{name}.yaml").read_text())
    return str(described["model"]["fusion"]["class_path"])


def _fusions() -> dict[str, str]:
    """Find the installed plugins, and further YAMLs beside them, such as closed_set."""
    found: dict[str, str] = {}
    beside: dict[str, str] = {}
    for entry in registered(PLUGINS):
        folder = _folder(entry)
        files = {path.stem: str(path) for path in folder.glob("*.yaml")} if folder else {}
        plain = json.dumps({"model": {"fusion": {"class_path": entry.value.replace(":", ".")}}})
        found[entry.name] = files.get(entry.name, plain)
        if folder is not None and (folder / "__init__.py").is_file():
            beside |= files
    return dict(sorted((beside | found).items()))


def _folder(entry: EntryPoint) -> Path | None:
    """Find the folder of a plugin's module without importing it."""
    package, *below = entry.module.split(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent.joinpath(*below[:-1])


def _fusion_of(config: str) -> str | None:
    """Return the name of the fusion that a model's YAML brings along, where it does."""
    described = _read(config)
    for key in ("model", "fusion", "class_path"):
        described = described.get(key) if isinstance(described, dict) else None
    path: str | None = described
    return None if path is None else _plugin(path)


def _plugin(path: str) -> str:
    """Return the name of a plugin by its class path; of one without a name, that of the class."""
    names = {e.value.replace(":", "."): e.name for e in registered(PLUGINS)}
    return names.get(path, path.rpartition(".")[2])


def _read(config: str) -> Any:
    from glip_pl.configs.reading import read_yaml  # A wrong name is told without it.

    return read_yaml(Path(config))


def _run_name(command: str, chosen: dict[str, list[str]]) -> str:
    """Return the folder of a run below ``runs``: deep-tiny-shapes, or test-shapes."""
    kinds = ("fusion", "model", "data")
    parts = [_stem(name) for kind in kinds for name in chosen[kind][-1:]]
    return "-".join(parts if command == "fit" else [command, *parts])


def _moved(token: str) -> str:
    """Return a path of a YAML that this project once kept elsewhere, as it is today."""
    option, equals, value = token.rpartition("=")
    path = Path(value)
    if path.parent.name != HERE.name or path.suffix != ".yaml" or path.exists():
        return token
    today = next(iter(HERE.glob(f"*/{path.name}")), None)
    return token if today is None else f"{option}{equals}{today}"


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml", ".json")) or "/" in name or "\\" in name


def _stem(name: str) -> str:
    return Path(name).stem if _is_path(name) else name
