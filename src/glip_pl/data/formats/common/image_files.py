"""Image files beside annotations: what is wrong with them, and their place in a new data set.

Sizes are those after the camera's orientation (EXIF) is applied, as `read_image` does. Nothing is
decoded before the header has told that it is not a decompression bomb.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.decoders import MOST_PIXELS, open_image
from glip_pl.data.formats.common.records import AnnotationSet
from glip_pl.data.formats.common.tar_files import read_bytes
from glip_pl.system.faults import is_of_the_machine

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
EMPTY = "empty image file"
UNREADABLE = "unreadable image file"
TRUNCATED = "truncated image file"
TOO_LARGE = "image of more than 100 megapixels"
OTHER_SIZE = "image whose record has another size"
TURNED = "image that its EXIF orientation turns, and its record does not"

_ORIENTATION = 0x0112  # The EXIF tag; 1 is upright, and 5 to 8 swap height and width.
_THREADS, _AT_ONCE = 4, 4096
_TAIL = 64
_IN_TAR = ".tar" + os.sep

T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file tell.

    Attributes:
        size: (height, width) in pixels, upright.
        stored: (height, width) in pixels, as the file stores them.
        orientation: The EXIF orientation; 1 is upright.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int


def read_sizes(paths: Sequence[str]) -> list[tuple[int, int] | str]:
    """Read the upright (height, width) of images from their headers, or name their problem."""
    headers = _in_threads(_read_header, paths)
    return [header if isinstance(header, str) else header.size for header in headers]


def _read_header(path: str) -> Header | str:
    try:
        if _IN_TAR not in path and os.path.getsize(path) == 0:
            return EMPTY
        with open_image(_openable(path)) as file:
            return _header(file)
    except Image.DecompressionBombError:
        return TOO_LARGE
    except Exception as error:  # Decoders raise nearly anything when the bytes are wrong.
        if is_of_the_machine(error):
            raise
        return UNREADABLE


def image_problem(path: str, size: tuple[int, int]) -> tuple[str | None, int]:
    """Decode an image and hold it against its record's size: problem and EXIF orientation."""
    header = _read_header(path)
    if isinstance(header, str):
        return header, 1
    if header.size[0] * header.size[1] > MOST_PIXELS:
        return TOO_LARGE, header.orientation
    if header.size != size:
        return (TURNED if header.stored == size else OTHER_SIZE), header.orientation
    try:
        with open_image(_openable(path)) as file:
            file.draft("L", (1, 1))  # JPEG: all of the file is read, an eighth of it computed.
            file.load()
    except Exception as error:
        if is_of_the_machine(error):
            raise
        # Pillow has no class of its own for a file that ends too early.
        early = "truncated" in str(error).lower()
        return (TRUNCATED if early else UNREADABLE), header.orientation
    return None, header.orientation


def broken_images(paths: Sequence[str], sizes: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Find the images that cannot be read or have another size: the problem of each path.

    A file that begins and ends as it must is not decoded, which makes this fast.
    """
    found = _in_threads(_quick_problem, paths, sizes)
    return {path: kind for path, kind in zip(paths, found, strict=True) if kind is not None}


def _quick_problem(path: str, size: tuple[int, int]) -> str | None:
    header = _read_header(path)
    if not isinstance(header, str) and header.size == size and _ends_well(path):
        return TOO_LARGE if size[0] * size[1] > MOST_PIXELS else None
    return image_problem(path, size)[0]


def _ends_well(path: str) -> bool:
    """Whether the mark that ends a JPEG or PNG is where it must be."""
    if _IN_TAR in path:
        return False
    with open(path, "rb") as file:
        begin = file.read(2)
        file.seek(max(os.path.getsize(path) - _TAIL, 0))
        end = file.read()
    return (b"\xff\xd9" if begin == b"\xff\xd8" else b"IEND") in end


def without_broken_images(annotation_set: AnnotationSet) -> tuple[AnnotationSet, int]:
    """Decode every image once and leave out the records of those with a problem.

    Returns:
        The set, whose problems name what was left out, and how many images have an EXIF orientation
        that moves their pixels.
    """
    records = columns_of(annotation_set.records)
    sizes = ((height, width) for height, width in records.sizes.tolist())
    files = dict(zip(records.file_names(), sizes, strict=True))
    folder = str(annotation_set.images)
    paths = [os.path.join(folder, name) for name in files]
    found = _in_threads(image_problem, paths, files.values())
    problems: Problems = {kind: list(names) for kind, names in annotation_set.problems.items()}
    broken = set()
    for (name, size), (kind, _) in zip(files.items(), found, strict=True):
        if kind is not None:
            broken.add(name)
            told = f"{name}, {size[1]} x {size[0]} in its record"
            note(problems, kind, told if kind in (OTHER_SIZE, TURNED) else name)
    kept = records.take(np.array([name not in broken for name in records.file_names()], bool))
    oriented = sum(orientation != 1 for _, orientation in found)
    return replace(annotation_set, records=kept, problems=problems), oriented


def place_images(
    sets: Mapping[str, AnnotationSet], folder: Path, *, unique_stems: bool = False
) -> dict[str, AnnotationSet]:
    """Link every image file into a folder, or copy it where no link can be made.

    A file keeps its name, unless another one has it already: then it goes into a folder named after
    its split.

    Args:
        sets: The sets by split.
        folder: Where the files go.
        unique_stems: Whether a.jpg and a.png, too, are one name.

    Returns:
        The sets with the files' new names, below `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: dict[str, str] = {}
    placed = {}
    for split, annotation_set in sets.items():
        base = os.path.realpath(annotation_set.images)
        names: dict[str, str] = {}
        records = columns_of(annotation_set.records)
        for name in records.file_names():
            if name not in names:
                source = os.path.join(base, name)
                names[name] = _free_name(name, split, source, taken, unique_stems)
                _link(source, folder / names[name])
        if any(name != new for name, new in names.items()):
            records = records.with_names(names[name] for name in records.file_names())
        placed[split] = replace(annotation_set, images=folder, records=records)
    return placed


def _free_name(name: str, split: str, source: str, taken: dict[str, str], stems: bool) -> str:
    """Find a name that no other file has, and take it; a tar file becomes a folder."""
    pure = PurePosixPath(name.replace(".tar/", "/"))
    candidates = [pure, PurePosixPath(split) / pure]
    number = 2
    while True:
        candidate = candidates.pop(0)
        key = str(candidate.with_suffix("") if stems else candidate)
        if taken.setdefault(key, source) == source:
            return str(candidate)
        if not candidates:
            candidates.append(pure.with_name(f"{pure.stem}-{number}{pure.suffix}"))
            number += 1


def _link(source: str, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if _IN_TAR in source:
        target.write_bytes(read_bytes(Path(source)))
        return
    source = os.path.realpath(source)
    try:
        os.link(source, target)
    except OSError:  # Another disk, or a file system without hard links.
        shutil.copy2(source, target)


def _in_threads(work: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """Do the same with many files; large images are counted by us, not warned of by Pillow."""
    found, calls = list[T](), zip(*arguments, strict=True)
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as threads:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        while some := list(islice(calls, _AT_ONCE)):  # What waits takes more than what is done.
            found += threads.map(lambda call: work(*call), some)
    return found


def _openable(path: str) -> str | Path:
    """Mark a path into a tar file as one; finding that out for every path takes time."""
    return Path(path) if _IN_TAR in path else path


def _header(file: Image.Image) -> Header:
    stored = (file.height, file.width)
    # Pillow decodes a PNG in search of an orientation that its header lacks.
    has_one = file.format != "PNG" or bool({"exif", "Raw profile type exif"} & file.info.keys())
    orientation = int(file.getexif().get(_ORIENTATION, 1)) if has_one else 1
    if orientation not in range(1, 9):
        orientation = 1
    return Header(stored[::-1] if orientation >= 5 else stored, stored, orientation)
