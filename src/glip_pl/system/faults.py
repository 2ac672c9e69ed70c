"""Faults of the machine: what no file and no option is to blame for, and what a disk refuses.

A file that cannot be opened because this process may open no more is not a broken file: whoever
leaves out what is broken must not leave it out.
"""

import errno
import os
import re
from pathlib import Path

_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
# What torch says of a file that it cannot go on writing, whatever the reason.
_TORCH = r"PytorchStreamWriter failed writing|inline_container.*unexpected pos|iostream error"


def is_of_the_machine(error: BaseException) -> bool:
    """Whether open files or memory ran out, so that the next file would fail as well."""
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or number in _OF_THE_MACHINE


def refused_by_the_disk(error: BaseException, folder: Path) -> int | None:
    """Return the system's number of what a disk does not let one write; None for other errors.

    Args:
        error: As it was raised; libraries wrap what the system said, or only quote it.
        folder: Where was written. The same said of a file elsewhere is another matter.
    """
    if isinstance(error, OSError):
        here = error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(folder)
        return error.errno if here and error.errno in (*_FULL, *_CLOSED) else None
    if isinstance(error, ValueError):  # Ours, and said already.
        return None
    said = str(error)
    quoted = [n for n in (*_FULL, *_CLOSED) if os.strerror(n) in said]
    return quoted[0] if quoted else errno.ENOSPC if re.search(_TORCH, said) else None


def advice_of(number: int | None) -> str:
    """Return what can be done where the system refuses to read or to write."""
    if number in _FULL:
        return "make room there, or name another place to write to"
    if number in _CLOSED:
        return "allow it, or name another place"
    return "correct the path"
