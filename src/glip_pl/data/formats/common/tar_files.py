"""Image files inside tar files: ``shards/train-000000.tar/0000012.jpg`` is a path into one."""

import tarfile
from functools import lru_cache
from io import BytesIO
from pathlib import Path


def image_file(path: Path) -> Path | BytesIO:
    """Return what Pillow opens an image from: the path itself, or the bytes out of a tar file.

    Raises:
        ValueError: The tar file has no such member.
    """
    found = _tar_and_member(path)
    return path if found is None else BytesIO(_read_member(*found))


def read_bytes(path: Path) -> bytes:
    """Read a file, which may lie in a tar file.

    Raises:
        ValueError: The tar file has no such member.
    """
    found = _tar_and_member(path)
    return path.read_bytes() if found is None else _read_member(*found)


def _tar_and_member(path: Path) -> tuple[Path, str] | None:
    for parent in path.parents:
        if parent.suffix == ".tar" and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def _read_member(tar: Path, member: str) -> bytes:
    status = tar.stat()
    places = _index(tar, status.st_mtime_ns, status.st_size)
    if member not in places:
        raise ValueError(
            f"{str(tar)!r} has no file {member!r}; correct the record or write the shards anew"
        )
    offset, size = places[member]
    with tar.open("rb") as file:
        file.seek(offset)
        return file.read(size)


# A shard has thousands of images, and reading the headers of all takes as long as one image.
@lru_cache(maxsize=256)
def _index(tar: Path, _changed: int, _size: int) -> dict[str, tuple[int, int]]:
    """Find where each file of a tar file starts, and its length in bytes."""
    with tarfile.open(tar, "r:") as opened:
        return {m.name: (m.offset_data, m.size) for m in opened if m.isfile()}
