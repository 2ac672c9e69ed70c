"""Which checkpoint is meant, and what it decides although options say otherwise."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

# Stated once and handed to the parts by the parser, so that one line tells of them.
_LINKED = ("text.init_args.d_text", "fusion.init_args.d_model", "fusion.init_args.d_text")
# Learned, or of no use where nothing learns.
_LEARNED = ("text.init_args.names",)
_OF_TRAINING = ("optimizer", "schedule", "loss_weights", "criterion", "denoising", "tuning")

# Found beside the others of a run, where no path is given.
WORDS = ("last", "best")


def newest(command: str, word: str, trainer: Namespace) -> str:
    """Find ``last.ckpt`` or ``best.ckpt`` of the newest run of a name.

    Args:
        command: fit, validate or test. A test has a name of its own, ``test-shapes``; what it tests
            is the newest run on that data, or of the model and fusion that were named, too.
        word: last or best.
        trainer: The trainer's options, whose logger has the folder and the name of the run.

    Raises:
        ValueError: There is none.
    """
    logger = trainer.get("logger")
    named = logger.get("init_args") if isinstance(logger, Namespace) else None
    folder = named and (named.get("save_dir") or named.get("root_dir"))
    if named is None or folder is None or not named.get("name"):
        raise ValueError(
            f"--ckpt_path={word} looks for the newest run of a name, and this command has none; "
            "name what was trained (--model, --fusion, --data), or pass the path of a .ckpt file"
        )
    name = str(named.name)
    own = name.removeprefix(f"{command}-")
    patterns = {own} if own == name else {own, f"*-{own}"}
    found = [
        path
        for pattern in patterns
        for path in Path(folder).glob(f"{pattern}/version_*/checkpoints/{word}.ckpt")
    ]
    if not found:
        looked = " or ".join(f"{folder}/{pattern}" for pattern in sorted(patterns))
        raise ValueError(
            f"--ckpt_path={word}: no run in {looked} has a {word}.ckpt; train one first, or pass "
            "the path of a .ckpt file"
        )
    return str(max(found, key=lambda path: path.stat().st_mtime_ns))


def keep_postprocess(
    asked: Namespace, decided: Namespace, names: Iterable[tuple[str, ...]]
) -> None:
    """Take from what was asked how scores become detections: no weights depend on it.

    Args:
        asked: The model's options as they were given.
        decided: The same with those of a checkpoint in their places, which are changed.
        names: What was said of the model; see `said`.
    """
    for first, *rest in names:
        if first != "postprocess":
            continue
        if not rest or not isinstance(decided.postprocess, Namespace):
            decided.postprocess = asked.postprocess
            return
        name = ".".join([first, *rest])
        decided[name] = asked[name]


def overridden(
    asked: Namespace, decided: Namespace, names: Iterable[tuple[str, ...]] | None = None
) -> list[str]:
    """Return a line for every option of the model that a checkpoint decides otherwise.

    Args:
        asked: The model's options as they were given.
        decided: The same with those of the checkpoint in their places.
        names: In an evaluation, what was said of the model; only that is looked at.
    """
    before, after = dict(_leaves(asked)), dict(_leaves(decided))
    return [
        f"--model.{name}={before[name]} (it has {after[name]})"
        for name in before
        if name in after and before[name] != after[name] and name not in (*_LINKED, *_LEARNED)
        if names is None or _is_said(name, names)
    ]


def _is_said(name: str, names: Iterable[tuple[str, ...]]) -> bool:
    path = tuple(name.split("."))
    return path[0] not in _OF_TRAINING and any(path[: len(own)] == own for own in names)


def _leaves(options: Namespace, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full name and the value of every option; lists and dicts count as one value."""
    for name, value in vars(options).items():
        if isinstance(value, Namespace):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
