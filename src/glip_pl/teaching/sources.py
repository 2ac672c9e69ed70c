"""Photos with captions, cut into shards: data sets with captions, or texts beside the images."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.data.formats.common.tar_files import read_bytes
from glip_pl.data.upkeep import read_sets
from glip_pl.labelling.sources import Item, Shard, shards_of

_TABLES = (".json", ".jsonl", ".csv")


def captioned_shards(sources: Sequence[str], shard_size: int) -> list[Shard]:
    """Cut photos with captions into shards, in a fixed order.

    Args:
        sources: Data sets with captions in any form that `glip data check` reads, by their file or
            folder; and whatever `glip_pl.labelling.sources.shards_of` takes: .tsv files of paths
            and captions, and images with the caption in a .txt or .json of the same name beside
            each, as img2dataset writes shards.
        shard_size: Images of a shard; tar files are shards as they are.

    Raises:
        ValueError: There is nothing at a source, or a data set has no caption.
    """
    shards = list[Shard]()
    for source in sources:
        if _is_set(Path(source)):
            items = tuple(_items(source))
            cut = [items[k : k + shard_size] for k in range(0, len(items), shard_size)]
            found = [Shard(0, part[0].path, part) for part in cut]
        else:
            found = shards_of([source], shard_size)
        shards += [replace(shard, number=len(shards) + k) for k, shard in enumerate(found)]
    return shards


def caption_beside(image: str) -> str | None:
    """Read the caption that lies beside an image file, which may lie in a tar file.

    Returns:
        The text of the .txt of the same name, else "caption" of its .json; None where there is
        neither.
    """
    stem = os.path.splitext(image)[0]
    try:
        return read_bytes(Path(f"{stem}.txt")).decode(errors="replace").strip()
    except (OSError, ValueError):
        pass
    try:
        document = json.loads(read_bytes(Path(f"{stem}.json")))
    except (OSError, ValueError, RecursionError):
        return None
    caption = document.get("caption") if isinstance(document, dict) else None
    return caption if isinstance(caption, str) else None


def _is_set(path: Path) -> bool:
    """Whether a path is a data set with annotations of its own, not images with texts beside."""
    if not path.is_dir():
        return path.suffix.lower() in _TABLES and path.is_file()
    beside = [*path.glob("*"), *path.glob("annotations/*")]
    return any(
        file.suffix.lower() in _TABLES
        and not any(file.with_suffix(s).is_file() for s in IMAGE_SUFFIXES)
        for file in beside
    )


def _items(source: str) -> Iterator[Item]:
    """List the captions of a data set with the image of each."""
    count = 0
    _, sets = read_sets(source, None)
    for found in sets.values():
        for record in found.records:
            if record.caption is not None:
                count += 1
                yield Item(str(found.images / record.file_name), record.caption)
    if not count:
        raise ValueError(
            f"no image of {source!r} has a caption; name what to look for with --prompt in place "
            "of --captions"
        )
