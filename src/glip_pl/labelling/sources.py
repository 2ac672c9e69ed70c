"""What is labelled: folders, globs, lists, tables, videos and WebDataset shards, cut into shards.

A shard is the unit of work. Its number follows from the inputs alone, so that every process, and a
later one that goes on where others were killed, cuts the same shards.
"""

import csv
import glob
import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.inference.video import VIDEO_SUFFIXES

_TITLES = ("", "image", "file_name", "filename", "filepath", "image_path", "img_path")


@dataclass(frozen=True)
class Item:
    """One image to label.

    Attributes:
        path: The file; it may lie in a tar file, as "shard.tar/0001.jpg".
        prompt: What to look for in it, where it has a prompt of its own.
    """

    path: str
    prompt: str | None = None


@dataclass(frozen=True)
class Shard:
    """Images that one process labels in one go.

    Attributes:
        number: Its place among all shards.
        name: The tar file or video that it is, or the first of its images.
        items: The images; empty for a video, whose frames are counted when they are read.
        video: The video, where it is one.
    """

    number: int
    name: str
    items: tuple[Item, ...] = ()
    video: Path | None = None

    def digest(self) -> str:
        """SHA-256 of what is labelled, by name and prompt."""
        lines = [self.name, *(f"{item.path}\t{item.prompt or ''}" for item in self.items)]
        # Names of files need not be UTF-8.
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def shards_of(sources: Sequence[str], shard_size: int) -> list[Shard]:
    """Cut inputs into shards, in a fixed order.

    Args:
        sources: Images, videos, tar files, folders of them, globs; text files with a path a line;
            and ``.tsv`` files with a path and, where wanted, a prompt in each row.
        shard_size: Images of a shard; tar files and videos are shards as they are.

    Raises:
        ValueError: There is nothing at a source.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size={shard_size} must be a positive number of images")
    loose, whole = list[Item](), list[Path]()
    for source in sources:
        for item in _items(source):
            path = Path(item.path)
            if path.suffix.lower() in (".tar", *VIDEO_SUFFIXES) and path.is_file():
                whole.append(path)
            else:
                loose.append(item)
    shards = [
        Shard(number, loose[start].path, tuple(loose[start : start + shard_size]))
        for number, start in enumerate(range(0, len(loose), shard_size))
    ]
    for path in whole:
        is_tar = path.suffix.lower() == ".tar"
        items = _members(path) if is_tar else ()
        shards.append(Shard(len(shards), str(path), items, None if is_tar else path))
    return shards


def _items(source: str) -> Iterator[Item]:
    """List what a source names, in order."""
    path, count = Path(source), 0
    if path.suffix.lower() in (".txt", ".tsv") and path.is_file():
        found = _table(path)
    elif path.is_dir():
        found = (Item(name) for name in _folder(path))
    elif path.exists():
        found = iter([Item(source)])
    else:
        found = (Item(name) for name in sorted(glob.glob(source, recursive=True)))
    for item in found:
        count += 1
        yield item
    if not count:
        raise ValueError(
            f"there is nothing to label at {source!r}; pass images, videos or .tar files, a folder "
            'of them, a quoted glob such as "photos/**/*.jpg", or a .txt or .tsv file of paths'
        )


def _folder(folder: Path) -> Iterator[str]:
    """Walk a folder with all below it, sorted."""
    wanted = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".tar")
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(wanted):
                yield os.path.join(parent, name)


def _table(path: Path) -> Iterator[Item]:
    """Read a list of paths, relative to the list's own folder; a tab may set a prompt apart."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Quotes may be a part of a file's name, or of a prompt.
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if not row or row[0].strip().lower() in _TITLES:
                continue
            prompt = row[1].strip() if len(row) > 1 else ""
            yield Item(os.path.join(path.parent, row[0].strip()), prompt or None)


def _members(tar: Path) -> tuple[Item, ...]:
    try:
        # No compressed ones: to reach a member, all before it would be unpacked.
        with tarfile.open(tar, "r:") as opened:
            names = [member.name for member in opened if member.isfile()]
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"{str(tar)!r} cannot be read as a tar file: {error}") from error
    return tuple(Item(f"{tar}/{n}") for n in names if n.lower().endswith(IMAGE_SUFFIXES))
