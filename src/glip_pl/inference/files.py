"""Files in and files out: which images are meant, and what is written for each of them."""

import fcntl
import glob
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.inference.video import VIDEO_SUFFIXES
from glip_pl.system.aside import make_folder
from glip_pl.system.faults import advice_of

_END = b"]\n"
_KEPT = (".jpg", ".jpeg", ".png", ".webp")  # Suffixes that a picture of an image keeps.


def image_files(pattern: str) -> list[Path]:
    """List the image files of a path, a folder or a glob.

    Raises:
        ValueError: There is none.
    """
    path = Path(pattern)
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    elif path.exists() and path.suffix.lower() in VIDEO_SUFFIXES:
        raise ValueError(f"{pattern!r} is a video; type: glip label --images={pattern}")
    elif path.exists():
        files = [path]
    else:
        files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    if not files:
        raise ValueError(
            f"no image at {pattern!r}; pass a file, a folder with {', '.join(IMAGE_SUFFIXES)} "
            'files, or a quoted glob such as "photos/*.jpg"'
        )
    return files


class Outputs:
    """A folder in which every input has a picture of its own, and no input is written over.

    Args:
        folder: Where pictures go; it is made.
        inputs: All images; a picture lies as deep below `folder` as its image below the folder that
            all images share.

    Raises:
        ValueError: The folder cannot be made.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path]) -> None:
        self.folder = folder
        try:
            make_folder(folder)
        except OSError as error:
            raise ValueError(
                f"the folder {str(folder)!r} cannot be made ({error.strerror}); "
                f"{advice_of(error.errno)}"
            ) from error
        self._inputs = {_real(path) for path in inputs}
        self._root = Path(*_common([path.parent.parts for path in self._inputs]))
        self._taken: set[Path] = set()

    def picture_of(self, image: Path) -> Path:
        """Return where the picture of an image goes: JPEG for JPEG, PNG for what is neither."""
        relative = _real(image).relative_to(self._root)
        suffix = image.suffix.lower()
        name = relative.name if suffix in _KEPT else f"{relative.name}.png"
        target = self.folder / relative.parent / name
        number = 1
        while _real(target) in self._inputs or target in self._taken:
            number += 1
            stem = f"{Path(name).stem}-found{number if number > 2 else ''}"
            target = self.folder / relative.parent / f"{stem}{Path(name).suffix}"
        self._taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _real(path: Path) -> Path:
    """Follow links to a file; `Path.resolve` stops at links that lead back to themselves."""
    return Path(os.path.realpath(path))


class RecordFile:
    """A JSON list that is whole after every record, so that an interruption loses nothing.

    Args:
        path: The file; what it held before is replaced.

    Raises:
        ValueError: Another process is writing it, or the disk does not take a record.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0

    def __enter__(self) -> Self:
        with self._told():
            # Not emptied until it is known to be this process's; without a buffer, so that what a
            # full disk refuses is refused here.
            self._file = open(self._path, "r+b", buffering=0, opener=_open)
            try:
                _lock(self._file)
                self._file.truncate(0)
                self._write(b"[]\n")
            except BaseException:
                self._file.close()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, record: dict[str, Any]) -> None:
        """Append a record."""
        before = "," if self._count else ""
        self._file.seek(-len(_END), os.SEEK_END)
        place = self._file.tell()
        with self._told():
            try:
                self._write(f"{before}\n{json.dumps(record)}\n".encode() + _END)
            except OSError:
                self._file.seek(place)
                self._file.truncate()
                self._write(_END)  # Where it was before, so that there is room.
                raise
        self._count += 1

    def _write(self, content: bytes) -> None:
        while content:
            content = content[self._file.write(content) :]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = f", with {self._count} images in it" if self._count else ""
            raise ValueError(
                f"{str(self._path)!r} cannot be written{kept} ({error.strerror}); "
                f"{advice_of(error.errno)}"
            ) from error


def _open(path: str, flags: int) -> int:
    """Open a file as it is, or make it."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def _lock(file: FileIO) -> None:
    """Take a file for this process until it is closed, where the file system knows locks.

    Raises:
        ValueError: Another process has it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"another process is writing {str(file.name)!r}; pass another --output, or wait for it"
        ) from error
    except OSError:
        return


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the parts that all paths begin with."""
    shared = min(paths, key=len)
    while any(path[: len(shared)] != shared for path in paths):
        shared = shared[:-1]
    return shared
