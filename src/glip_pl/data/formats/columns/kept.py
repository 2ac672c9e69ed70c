"""Sets that were read, kept for the next time in the user's cache.

What is kept depends on the annotation file and on which image files there are. So a set is found
by the path of its file and by how it was read, and it is taken as long as the file is the same, by
its size and time or else by its content, and as long as the folders of its images were not changed:
a folder has a new time whenever a file comes or goes. It lies in the cache and not beside the
annotations, since these are often on a disk that is shared, or cannot be written.

All of what is kept is read once when it is opened, and held against checksums: a second of a
gigabyte, and nothing to what a wrong box costs. Workers map the same files without that.

A set is written into a folder of its own that is renamed when it is whole. Of several processes one
reads and the others wait; without a lock each writes a folder, and the last one stays.
"""

import atexit
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glip_pl import __version__
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.store import checksum_of, open_store
from glip_pl.data.formats.common.checks import MISSING_FILE
from glip_pl.data.formats.common.records import AnnotationSet
from glip_pl.system.cache import cache_folder

log = logging.getLogger(__name__)

# Files below this size are read as fast as what would be kept of them.
SMALL = 1 << 24
_SET, _ROWS = "set.json", "rows.npy"
# What is kept is read by the version that wrote it; count on when columns change between releases.
_VERSION = f"{__version__} 2"

# Reads a set into the files of a folder, or into memory: the set and a hash of its file's content.
Read = Callable[[Path | None], tuple[AnnotationSet, str]]


def kept_set(source: Path, how: str, read: Read) -> AnnotationSet:
    """Return a set as it was read before, or read it and keep it.

    Args:
        source: The annotation file.
        how: What else the result depends on: the format, and where the images are looked for.
        read: Reads it.

    Raises:
        ValueError: It cannot be read, or the disk has no room for it.
    """
    try:
        if source.stat().st_size < SMALL:
            return read(None)[0]
    except OSError:  # `read` tells what is wrong.
        return read(None)[0]
    wanted = f"{os.path.abspath(source)}\n{source}\n{how}"
    key = hashlib.blake2b(wanted.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    folder = cache_folder() / "columns"
    if (found := _find(folder, key, source)) is not None:
        return found
    folder = _writable(folder)
    with _locked(folder / f"{key}.lock"):
        # Another process may have read it in the meantime.
        return _find(folder, key, source) or _read_and_keep(source, read, folder, key)


def _find(folder: Path, key: str, source: Path) -> AnnotationSet | None:
    """Open a kept set that is whole and up to date."""
    for place in folder.glob(f"{key}-*"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            if (found := _load(place, source)) is not None:
                return found
    return None


def _writable(folder: Path) -> Path:
    """Return the folder of kept sets; where it cannot be written, one until the program ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        passing = Path(tempfile.mkdtemp(prefix="glip_pl_columns_"))
        atexit.register(_remove, passing, os.getpid())
        log.warning(
            "the cache %s cannot be written (%s), so that large annotation files are read in every "
            "run; set GLIP_CACHE to a folder that can",
            *(folder, error.strerror),
        )
        return passing


def _remove(folder: Path, owner: int) -> None:
    """Remove a folder, unless this is another process that was forked from the owner."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Let one process at a time go on, where the file system knows locks."""
    with file.open("w") as opened:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _load(place: Path, source: Path) -> AnnotationSet | None:
    """Open a kept set; None where it was made of other files, or by another version."""
    checksum, _, told = (place / _SET).read_bytes().partition(b"\n")
    held = json.loads(told)
    if int(checksum) != zlib.crc32(told):
        return None
    if held["version"] != _VERSION or _times(held["folders"]) != held["folders"]:
        return None
    stamp = _stamp(source)
    if held["stamp"] != stamp:
        if held["stamp"][0] != stamp[0] or held["digest"] != digest_of(source):
            return None
        with suppress(OSError):
            _write(place, {**held, "stamp": stamp})
    if held["rows"] is not None and checksum_of(place / _ROWS) != held["rows"]:
        return None
    rows = None if held["rows"] is None else np.load(place / _ROWS)
    return AnnotationSet(
        Path(held["images"]),
        ColumnRecords(open_store(place, checked=True), rows),
        {int(i): str(name) for i, name in held["names"]},
        {int(i): str(often) for i, often in held["frequency"]},
        {str(kind): [str(told) for told in named] for kind, named in held["problems"].items()},
        {str(kind): int(count) for kind, count in held["unread"].items()},
        tuple(held["roots"]),
    )


def _read_and_keep(source: Path, read: Read, folder: Path, key: str) -> AnnotationSet:
    log.warning("%s is large: it is read once, and kept in %s for later runs", source, folder)
    for rest in folder.glob(f".{key}.*"):  # Of a process that was killed, since none has the lock.
        shutil.rmtree(rest, ignore_errors=True)
    place = Path(tempfile.mkdtemp(dir=folder, prefix=f".{key}."))
    try:
        stamp, since = _stamp(source), time.time_ns()
        found, digest = read(place)
        records = columns_of(found.records)
        if records.rows is not None:
            np.save(place / _ROWS, records.rows)
        rows = checksum_of(place / _ROWS) if records.rows is not None else None
        folders = _times(_folders_of(found))
        # A folder that was changed in the meantime may have been listed before or after.
        settled = {name: time if (time or 0) < since else -1 for name, time in folders.items()}
        described = {
            "version": _VERSION,
            "stamp": stamp,
            "digest": digest,
            "folders": settled,
            "images": str(found.images),
            "names": list(found.names.items()),
            "frequency": list(found.frequency.items()),
            "problems": found.problems,
            "unread": found.unread,
            "roots": found.roots,
            "rows": rows,
        }
        _write(place, described)
        final = folder / f"{key}-{digest[:8]}{place.name[-8:]}"
        place.rename(final)
    except OSError as error:
        raise ValueError(
            f"cannot keep the columns of {str(source)!r} in {str(folder)!r}: {error.strerror}; "
            "make room there, or set GLIP_CACHE to another folder"
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    for old in folder.glob(f"{key}-*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)
    return replace(found, records=ColumnRecords(open_store(final), records.rows))


def _write(place: Path, described: dict[str, Any]) -> None:
    """Write what a set has beside its columns, as a whole or not at all."""
    new = place / f".{_SET}"
    told = json.dumps(described).encode()
    with new.open("wb") as opened:
        opened.write(b"%d\n" % zlib.crc32(told) + told)
        opened.flush()
        os.fsync(opened.fileno())
    new.rename(place / _SET)


def _stamp(source: Path) -> list[int]:
    told = source.stat()
    return [told.st_size, told.st_mtime_ns]


def digest_of(source: Path) -> str:
    """Hash the content of a file, as `json_walk` does while it reads."""
    with source.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _folders_of(found: AnnotationSet) -> dict[str, None]:
    """List the folders that the images of a set lie in, or should."""
    names = set(map(os.path.dirname, columns_of(found.records).file_names()))
    names |= set(map(os.path.dirname, found.problems.get(MISSING_FILE, ())))
    return dict.fromkeys(os.path.join(found.images, name) for name in sorted(names | {""}))


def _times(folders: Any) -> dict[str, int | None]:
    """Return when something came to each folder or went last; None where there is no folder."""
    times: dict[str, int | None] = {}
    for folder in folders:
        try:
            times[folder] = os.stat(folder).st_mtime_ns
        except (OSError, ValueError):
            times[folder] = None
    return times
