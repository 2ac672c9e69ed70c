"""What ended a command although its user did nothing wrong: in one line, with what to do next.

Libraries raise errors of their own kinds and words for a full /dev/shm, a loader process that the
system killed, or another process of the run that is gone. They are known by their words.
"""

import os
import re
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

import glip_pl

_SHARED = Path("/dev/shm")
_FEWER = "lower --data.num_workers or --data.batch_size"

# What a library says, and what is to be done.
_KNOWN = (
    (
        r"Too many open files|received \d+ items of ancdata",
        "no more files may be opened{files}; type `ulimit -n 65536` before the command, or lower "
        "--data.num_workers",
    ),
    (
        r"killed by signal: Bus error|shared memory.*No space left|torch_\d+_.*No space left"
        r"|No space left on device.*(torch_\d+_|multiprocessing)|unable to write to file </torch_",
        f"the shared memory{{shared}} is full, through which loader processes hand over their "
        f"batches; make it larger (docker run --shm-size=8g), {_FEWER}, or use "
        "--data.num_workers=0, which needs none",
    ),
    (
        r"DataLoader worker \(pid.*killed by signal: (\w+)",
        "a loader process was killed ({0}): where nobody did so, memory ran out and the system "
        f"chose it; {_FEWER}, and start again",
    ),
    (
        r"DataLoader worker \(pid.* exited unexpectedly",
        "a loader process ended without a word, as one does that the system kills when memory "
        f"runs out; {_FEWER}, or use --data.num_workers=0 to see why",
    ),
    (
        r"out of memory|can't allocate memory|Cannot allocate memory|Unable to allocate",
        "memory ran out; lower --data.batch_size, or keep less of each step by "
        "--fusion_defaults.checkpoint_layers=true",
    ),
    (
        r"(?i)gloo|nccl|connection (closed|reset) by|Socket Timeout|DistNetworkError|TCPStore",
        "another process of this run ended or does not answer; what it said last stands above or "
        "in its own log. Correct that, and start all of them again",
    ),
)


def advice(error: BaseException) -> str | None:
    """Return what to do about an error of a library; None where that is not known."""
    for link in _chain(error):
        frames = traceback.extract_tb(link.__traceback__)
        words = f"{type(link).__name__}: {link} in {frames[-1].filename if frames else ''}"
        if isinstance(link, MemoryError):
            words += " out of memory"
        for pattern, told in _KNOWN:
            if found := re.search(pattern, words, re.DOTALL):
                return told.format(
                    *map(str, found.groups()), files=_open_files(), shared=_shared_memory()
                )
    return None


def leave_for_torchrun(error: BaseException) -> None:
    """Write an error where torchrun looks for what to print last, if it runs this process."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import ErrorHandler

        ErrorHandler().record_exception(error)


def raised_by_a_worker(error: ValueError) -> str | None:
    """Return our message to the user, where a loader process raised it; else None."""
    text = str(error)
    if not text.startswith("Caught ValueError in DataLoader worker"):
        return None
    places = re.findall(r'^  File "(.+?)", line \d+', text, re.MULTILINE)
    ours = Path(glip_pl.__file__).parent
    message = text.rpartition("\nValueError: ")[2].strip()
    return message if places and Path(places[-1]).is_relative_to(ours) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and what caused it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _open_files() -> str:
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return ""
    return f" (the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"


def _shared_memory() -> str:
    if not _SHARED.is_dir():
        return ""
    return f" ({_SHARED}, of {shutil.disk_usage(_SHARED).total / 2**20:.0f} MB)"
