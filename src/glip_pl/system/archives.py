"""Unpack a zip or tar file that was downloaded, without trusting it.

An archive may name files outside the folder it is unpacked into, links that lead there, or devices.
Every entry is looked at before the first is written; one bad entry refuses the whole archive.
"""

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

_ENCRYPTED = 1  # A bit of a zip entry's flags.
# What damaged or unknown compression raises.
_OTHERS = (zlib.error, lzma.LZMAError, NotImplementedError)


@dataclass(frozen=True)
class _Entry:
    """A file of an archive, its size in bytes, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar file, by its content."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack all files of an archive into a folder, beside what lies there already.

    Files of the same name are replaced. What an interruption left half unpacked is taken away by
    the next call.

    Args:
        archive: A zip or tar file, compressed or not.
        folder: Where to put its files; it is made.

    Raises:
        ValueError: The archive is damaged, has an entry that does not belong into the folder, or
            is larger than the free space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = staging_of(archive, folder)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with _opened(archive) as entries:
            _check_room(archive, folder, sum(entry.size for entry in entries))
            _write(entries, staging, archive.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, *_OTHERS) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise ValueError(
            f"{str(archive)!r} cannot be unpacked ({error}); remove it and fetch it again"
        ) from error
    for path in sorted(staging.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    shutil.rmtree(staging, ignore_errors=True)


def staging_of(archive: Path, folder: Path) -> Path:
    """Return the folder in which an archive lies while it is unpacked."""
    return folder / f".unpacking-{archive.name}"


@contextmanager
def _opened(archive: Path) -> Iterator[list[_Entry]]:
    """Open an archive and list its files, all of which may be written."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            locked = next((i.filename for i in zipped.infolist() if i.flag_bits & _ENCRYPTED), None)
            if locked is not None:
                raise ValueError(
                    f"{str(archive)!r} is encrypted ({locked!r}); unpack it with its password into "
                    "the folder of the data set by hand, and remove it"
                )
            yield [
                _Entry(_safe(info.filename, archive), info.file_size, _in_zip(zipped, info))
                for info in zipped.infolist()
                if not info.is_dir()
            ]
        return
    with tarfile.open(archive) as tar:
        entries = []
        for member in tar.getmembers():
            name = _safe(member.name, archive)
            if not (member.isfile() or member.isdir()):
                raise ValueError(
                    f"{str(archive)!r} holds {member.name!r}, which is a link or a device and no "
                    "file; nothing was unpacked, and the archive should not be trusted"
                )
            if member.isfile():
                entries.append(_Entry(name, member.size, _in_tar(tar, member)))
        yield entries


def _in_zip(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: zipped.open(info)


def _in_tar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        file = tar.extractfile(member)
        assert file is not None  # Only regular files are listed.
        return file

    return opened


def _safe(name: str, archive: Path) -> str:
    """Return an entry's name, if it leads into the folder on every system."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        raise ValueError(
            f"{str(archive)!r} holds {name!r}, which leads out of the folder; nothing was "
            "unpacked, and the archive should not be trusted"
        )
    return str(path)


def _check_room(archive: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ValueError(
            f"{str(archive)!r} unpacks to {size / 1e9:.1f} GB, but {str(folder)!r} has "
            f"{free / 1e9:.1f} GB left; make room, or name another folder with DATA_ROOT=PATH"
        )


def _write(entries: list[_Entry], staging: Path, title: str) -> None:
    """Write the files into a folder that nothing else uses."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(f"unpack {title}", total=sum(entry.size for entry in entries))
        for entry in entries:
            target = staging / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with entry.open() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            progress.advance(task, entry.size)
