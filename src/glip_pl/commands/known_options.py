"""Wrong options of ``glip fit``, ``validate`` and ``test``, found before slow imports.

The options are the arguments of three constructors. Their names are read from the source files, so
that neither Lightning nor PyTorch has to be there.
"""

import ast
import difflib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from glip_pl.configs.moved import RENAMED
from glip_pl.configs.names import KINDS

_PACKAGE = Path(__file__).parents[1]
_PLAIN = {
    *("help", "config", "print_config", "seed_everything", "ckpt_path", "weights", "new", "trust"),
    *("trainer", "model", "data", "weights_only", "verbose", "fusion_defaults", *KINDS),
}


# Groups of options that are classes: the file and the name of each.
_GROUPS = {
    "data.sampling": ("data/sampling.py", "Sampling"),
    "model.tuning": ("tuning/modes.py", "Tuning"),
    "model.head": ("head.py", "HeadStart"),
}


def refuse_unknown(command: str, args: Sequence[str]) -> None:
    """Refuse an option that the trainer, the model or the data do not have.

    What stands deeper, such as options of a plugin, is left to the parser, but for the groups of
    options that never change.

    Raises:
        ValueError: There is one; the nearest name is in the message.
    """
    known: dict[str, set[str]] | None = None
    for arg in args:
        if not arg.startswith("--") or arg == "--":
            continue
        option = arg.partition("=")[0].removeprefix("--").rstrip("+")
        first, *below = option.split(".")
        if first not in _PLAIN:
            raise ValueError(_message(command, option, first, _PLAIN))
        if first in ("trainer", "model", "data") and below:
            known = known or _known()
            names = known[first]
            own = f"{first}.{below[0]}"
            if names and below[0] not in names and own not in RENAMED:
                options = {f"{first}.{name}" for name in names}
                raise ValueError(_message(command, option, own, options))
            if own in _GROUPS and below[1:]:
                options = {f"{own}.{name}" for name in _attributes(*_GROUPS[own])}
                if (deep := f"{own}.{below[1]}") not in options:
                    raise ValueError(_message(command, option, deep, options))


def _message(command: str, option: str, own: str, names: set[str]) -> str:
    # Options of before are understood, but told by what they are called today.
    close = difflib.get_close_matches(own, sorted({*names, *RENAMED}), n=1)
    nearest = [RENAMED.get(name, name) for name in close]
    hint = f"did you mean --{nearest[0]}?" if close else f"glip {command} --help lists them"
    return f"glip {command} has no option --{option}; {hint}"


def _known() -> dict[str, set[str]]:
    """Return the names below ``trainer``, ``model`` and ``data``; none where they are not found."""
    lightning = find_spec("pytorch_lightning")
    trainer = Path(lightning.origin).parent if lightning and lightning.origin else _PACKAGE
    return {
        "trainer": _arguments(trainer / "trainer/trainer.py", "Trainer"),
        "model": _arguments(_PACKAGE / "training/task.py", "GroundingTask"),
        "data": _arguments(_PACKAGE / "data/module.py", "GroundingDataModule"),
    }


def _arguments(path: Path, name: str) -> set[str]:
    """Read the arguments of the constructor of a class, and ``help``."""
    if not path.is_file():
        return set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    listed = (*method.args.args, *method.args.kwonlyargs)
                    return {"help", *(argument.arg for argument in listed)} - {"self"}
    return set()


def _attributes(path: str, name: str) -> set[str]:
    """Read the attributes that a class of this package declares, and ``help``."""
    tree = ast.parse((_PACKAGE / path).read_text(encoding="utf-8"))
    (found,) = (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name)
    declared = (n.target for n in found.body if isinstance(n, ast.AnnAssign))
    return {"help", *(target.id for target in declared if isinstance(target, ast.Name))}
