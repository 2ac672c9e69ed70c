"""The command line: ``glip COMMAND OPTIONS``.

A command is the function `run` of the module of its name in `glip_pl.commands`. It is imported when
it is asked for, so that a list of commands or a misspelt name does not wait for what others need.
"""

import difflib
import os
import re
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

import glip_pl
from glip_pl.commands.failures import advice, leave_for_torchrun, raised_by_a_worker
from glip_pl.commands.lacking import lacking
from glip_pl.system.faults import advice_of
from glip_pl.system.screen import complain, show_warnings

# One line each; the module of a command has the rest.
COMMANDS = {
    "fit": "train a model",
    "validate": "evaluate a model on the validation sets",
    "test": "evaluate a model on the test sets, and save the results",
    "predict": "detect in image files what a prompt names",
    "label": "detect in any number of images, by any number of processes",
    "compare": "tell whether two test runs differ by more than chance",
    "benchmark": "time a model stage by stage",
    "calibrate": "find a threshold for every name, stored with the weights",
    "audit": "measure how far scores depend on the wording of a prompt",
    "blend": "average two models, from one to the other",
    "adapter": "keep what LoRA learned apart from its base, and add it again",
    "odinw": "evaluate a model on ODinW's data sets, with few images or none",
    "reproduce": "test a published checkpoint as it was published",
    "convert": "turn weights of any kind into a folder, and official GLIP's back",
    "export": "write a model as ONNX, to detect without PyTorch",
    "serve": "answer images and prompts by HTTP, with a page to try it",
    "demo": "open a page to try models side by side",
    "data": "fetch, check, convert and show data sets",
}

_LONGEST = 200  # Characters of a path in a message.
_LONGEST_MESSAGE = 4000
EXAMPLE = "glip fit --model=tiny --fusion=deep --data=shapes"


def main(args: list[str] | None = None) -> None:
    """Run a command; a user's mistake ends in one message and exit status 2.

    A fault of the machine ends in a traceback, a message after it, and exit status 1.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return
    if name == "--version":
        sys.stdout.write(f"glip {glip_pl.__version__}\n")
        return
    if name not in COMMANDS:
        raise SystemExit(_report(_unknown(name)))
    show_warnings()
    # Tokenizers run in data loader workers; their own threads would only warn about the fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import_module(f"glip_pl.commands.{name}").run(arguments[1:])
    except KeyboardInterrupt:
        complain("glip: stopped")
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        leave_for_torchrun(error)
        status = _told(error)
        if status is None:
            raise
        raise SystemExit(status) from error


def _overview() -> str:
    listed = "\n".join(f"  {name:<10} {purpose}" for name, purpose in COMMANDS.items())
    return (
        "Detect and ground anything that has a name.\n\n"
        f"usage: glip COMMAND [OPTIONS]\n\n{listed}\n\n"
        f"for example: {EXAMPLE}\n"
        "options of a command: glip COMMAND --help; version: glip --version\n"
    )


def _unknown(name: str) -> str:
    if name.startswith("-"):
        return f"{name} stands before the command; name the command first, for example {EXAMPLE}"
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]}? The" if close else "the"
    return f"there is no command {name!r}; {hint} commands are {', '.join(COMMANDS)}"


def _told(error: Exception) -> int | None:
    """Write what ended a command, and return the exit status; None where nothing is known of it."""
    if isinstance(error, ValueError):
        own = str(error) if _raised_by_us(error) else raised_by_a_worker(error)
        if own is not None:
            return _report(own, error)
    if isinstance(error, RuntimeError) and "Error(s) in loading state_dict" in str(error):
        reason = " ".join(str(error).split())  # Of PyTorch, where a run is of another model's.
        return _report(f"the checkpoint is of another model: {reason}", error)
    if isinstance(error, BrokenPipeError):  # Who reads the output has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, ModuleNotFoundError) and (missing := lacking(error)) is not None:
        return _report(missing, error)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, not imported for it.
        lacks = re.search(r"gpu backend|accelerator is not available", str(error))
        hint = " Pass --trainer.accelerator=auto, or leave it out." if lacks else ""
        return _report(f"{error}{hint}", error)
    told = advice(error)
    if told is None:
        if not isinstance(error, OSError) or error.strerror is None:
            return None
        return _report(_of_the_system(error), error)
    traceback.print_exception(error)
    _report(told, error)
    return 1


def _report(message: str, error: BaseException | None = None) -> int:
    """Write what went wrong, with what was noted beside it, and return the exit status for it."""
    if len(message) > _LONGEST_MESSAGE:  # A prompt or a name may be as long as a book.
        message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
    complain(f"glip: error: {message}", *getattr(error, "__notes__", ()))
    return 2


def _of_the_system(error: OSError) -> str:
    """Return what a disk, a folder or a file does not allow, and what can be done."""
    where = f"{str(error.filename)[:_LONGEST]!r}: " if error.filename is not None else ""
    return f"{where}{error.strerror}; {advice_of(error.errno)}"


def _raised_by_us(error: BaseException) -> bool:
    """Whether an error is one of our messages to the user, and not a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(glip_pl.__file__).parent
    return bool(frames) and Path(frames[-1].filename).is_relative_to(ours)
