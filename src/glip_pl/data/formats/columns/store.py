"""Arrays by name, in memory or in the files of one folder, which all processes share.

A set of Objects365's size has 25 million boxes. As Python objects they take 26 GB, and every loader
process that is started gets a copy; as files that are mapped into memory they take what was looked
at, once for all processes. A pickle of a store that lies in files holds the folder's path alone.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_CONTENTS = "contents.json"
# Rows that are moved at once.
CHUNK = 1 << 20


class ColumnStore(Mapping[str, Array]):
    """Arrays by name.

    Attributes:
        folder: Where their files lie; None where they are in memory.
    """

    def __init__(self, arrays: Mapping[str, Array], folder: Path | None = None) -> None:
        self._arrays, self.folder = dict(arrays), folder

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is None:
            return ColumnStore, (self._arrays,)
        return open_store, (self.folder,)


def open_store(folder: Path, *, checked: bool = False) -> ColumnStore:
    """Map the files of a folder that `seal_store` finished into memory, to be read only.

    Args:
        folder: The folder.
        checked: Whether to read all files and hold them against their checksums.

    Raises:
        ValueError: A file is missing, or not as it was written.
    """
    try:
        sizes = json.loads((folder / _CONTENTS).read_bytes())
        arrays = {}
        for name, (size, checksum) in sizes.items():
            file = folder / f"{name}.npy"
            if file.stat().st_size != size or (checked and checksum_of(file) != checksum):
                raise ValueError(f"{str(file)!r} has not the {size} bytes that were written")
            arrays[name] = _mapped(file)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read the columns in {str(folder)!r}: {error}") from error
    return ColumnStore(arrays, folder)


def _mapped(file: Path) -> Array:
    """Open an array; one without elements cannot be mapped."""
    with file.open("rb") as opened:
        np.lib.format.read_magic(opened)
        shape, _, _ = np.lib.format.read_array_header_1_0(opened)
    mapped = np.load(file, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
    return np.asarray(mapped)  # The same memory, without memmap's slower indexing.


def write_array(
    folder: Path | None, name: str, dtype: Any, shape: tuple[int, ...], parts: Iterable[Array]
) -> Array:
    """Join parts of an array, in memory or in a file of a folder.

    Args:
        folder: The folder; None for memory.
        name: Name of the array.
        dtype: Kind of its elements.
        shape: Its shape, which the parts fill from front to back.
        parts: Its parts.
    """
    if folder is None:
        held = [np.asarray(part, dtype) for part in parts]
        joined = np.concatenate(held) if held else np.empty(0, dtype)
        return joined.reshape(shape)
    file = folder / f"{name}.npy"
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with file.open("wb") as opened:
        np.lib.format.write_array_header_1_0(opened, described)
        for part in parts:
            opened.write(np.ascontiguousarray(part, dtype).data)
        opened.flush()
        os.fsync(opened.fileno())
    return _mapped(file)


def seal_store(folder: Path, arrays: Mapping[str, Array]) -> ColumnStore:
    """Write down which arrays a folder has, with sizes and checksums, for `open_store`."""
    files = {name: folder / f"{name}.npy" for name in arrays}
    sizes = {name: (file.stat().st_size, checksum_of(file)) for name, file in files.items()}
    (folder / _CONTENTS).write_text(json.dumps(sizes))
    return ColumnStore(arrays, folder)


def checksum_of(file: Path) -> int:
    """Compute the CRC-32 of a file, without mapping it into memory."""
    checksum = 0
    with file.open("rb") as opened:
        while part := opened.read(CHUNK):
            checksum = zlib.crc32(part, checksum)
    return checksum


class Growing:
    """A column of unknown length, in memory or in a file of a folder.

    Args:
        folder: Where the file goes; None for memory.
        name: Name of the column.
        dtype: Kind of its elements.
    """

    def __init__(self, folder: Path | None, name: str, dtype: Any) -> None:
        self.name, self.dtype, self.length = name, np.dtype(dtype), 0
        self._parts: list[Array] = []
        self._file = None if folder is None else folder / f"{name}.part"
        self._opened = None if self._file is None else self._file.open("w+b")

    def append(self, values: Any) -> None:
        """Add values, of any shape, at the end."""
        part = np.ascontiguousarray(values, self.dtype)
        self.length += part.size
        if self._opened is None:
            self._parts.append(part.reshape(-1))
        else:
            self._opened.write(part.data)

    def parts(self, size: int = CHUNK) -> Iterator[Array]:
        """Walk over the values from front to back, so many at a time where they are in a file."""
        if self._opened is None:
            yield from self._parts
            return
        self._opened.seek(0)
        while len(part := np.fromfile(self._opened, self.dtype, size)):
            yield part

    def whole(self) -> Array:
        """Return all values."""
        parts = list(self.parts(max(self.length, 1)))
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    def drop(self) -> None:
        """Forget the values, and remove the file."""
        self._parts = []
        if self._opened is not None and self._file is not None:
            self._opened.close()
            self._file.unlink()
