"""Files and folders that are there as a whole or not at all, and what to say where they cannot be.

Each is written beside its place under a name that no other process has, on this machine or another
that shares the disk, and then renamed.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from glip_pl.system.faults import advice_of, refused_by_the_disk


@contextmanager
def written_aside(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes its name once it is whole and on the disk; see `file_aside`."""
    with file_aside(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """Name a file to write, which takes the name `path` when the context ends.

    Two processes that write the same file write two, and the last one stays. What an error or an
    interruption cuts off leaves nothing.

    Args:
        path: The file to be; its folder is made.

    Raises:
        ValueError: The folder cannot be made, or the disk does not take the file.
    """
    with _told(path):
        make_folder(path.parent)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """Make an empty folder to fill, which takes the name `target` when the context ends.

    Of two processes that write the same folder the first one's stays, whole.

    Args:
        target: The folder to be; it must not exist, and what it lies in is made.

    Raises:
        ValueError: It exists, at the start or in the end, or the disk does not take it.
    """
    refuse_existing(target)
    with _told(target):
        make_folder(target.parent)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
            folder = Path(name) / "whole"
            folder.mkdir()
            yield folder
            refuse_existing(target)
            try:
                folder.rename(target)
            except OSError:
                refuse_existing(target)
                raise


def refuse_existing(target: Path) -> None:
    """Refuse a target that is there; asked early, it spares the work.

    Raises:
        ValueError: It exists.
    """
    if os.path.lexists(target):
        raise ValueError(f"{str(target)!r} exists already; name a new place, or remove it first")


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, where they are not there.

    Raises:
        ValueError: One of them is a file.
        OSError: The system does not allow it.
    """
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(
                f"the folder {str(folder)!r} cannot be made: {str(place)!r} is a file; name "
                "another place"
            )
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Report what the disk refuses in words of the file that was asked for."""
    try:
        yield
    except Exception as error:  # Of the system, and of writers that wrap what it said.
        refused = refused_by_the_disk(error, path.parent)
        if refused is None:
            raise
        raise ValueError(
            f"{str(path)!r} cannot be written ({os.strerror(refused)}); {advice_of(refused)}"
        ) from error
