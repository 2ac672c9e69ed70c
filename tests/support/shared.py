"""What is costly to make and only read: once for all tests of a run, in any number of workers."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` filled, in this worker or another.

    A folder that is not filled to its end, since its maker failed, is made anew under a new name.
    """
    base = factory.getbasetemp()
    # Workers of pytest-xdist have a folder each, side by side.
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    finished = base / f"{name}.finished"
    with FileLock(base / f"{name}.lock"):
        if not finished.exists():
            folder = factory.mktemp(name)
            make(folder)
            finished.write_text(str(folder))
    return Path(finished.read_text())
