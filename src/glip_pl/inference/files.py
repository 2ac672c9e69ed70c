"""Files in and files out: which images are meant, and what is written for each of them."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES

_KEPT = (".jpg", ".jpeg", ".png", ".webp")  # Suffixes that a picture of an image keeps.


def image_files(pattern: str) -> list[Path]:
    """List the image files of a path, a folder or a glob.

    Raises:
        ValueError: There is none.
    """
    path = Path(pattern)
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
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
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"the folder {str(folder)!r} cannot be made ({error.strerror}); pass another "
                "--output"
            ) from error
        parents = {path.resolve().parent for path in inputs}
        self._root = Path(*_common([parent.parts for parent in parents]))
        self._inputs = {path.resolve() for path in inputs}
        self._taken: set[Path] = set()

    def picture_of(self, image: Path) -> Path:
        """Return where the picture of an image goes: JPEG for JPEG, PNG for what is neither."""
        relative = image.resolve().relative_to(self._root)
        suffix = image.suffix.lower()
        name = relative.name if suffix in _KEPT else f"{relative.name}.png"
        target = self.folder / relative.parent / name
        number = 1
        while target.resolve() in self._inputs or target in self._taken:
            number += 1
            stem = f"{Path(name).stem}-found{number if number > 2 else ''}"
            target = self.folder / relative.parent / f"{stem}{Path(name).suffix}"
        self._taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


class RecordFile:
    """A JSON list that is whole after every record, so that an interruption loses nothing."""

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._file.write(b"[]\n")
        self._file.flush()
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
        self._file.seek(self._file.tell() - len(b"]\n"))
        before = "," if self._count else ""
        self._file.write(f"{before}\n{json.dumps(record)}\n]\n".encode())
        self._file.flush()
        self._count += 1


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the parts that all paths begin with."""
    shared = min(paths, key=len)
    while any(path[: len(shared)] != shared for path in paths):
        shared = shared[:-1]
    return shared
