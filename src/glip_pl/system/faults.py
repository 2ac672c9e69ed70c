"""Faults of the machine: what no file and no option is to blame for.

A file that cannot be opened because this process may open no more is not a broken file: whoever
leaves out what is broken must not leave it out.
"""

import errno

_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether open files or memory ran out, so that the next file would fail as well."""
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or number in _OF_THE_MACHINE
