"""WebDataset: tar files of a few hundred megabytes, for sets with too many files for a folder.

A sample is an image and a ``.json`` of the same stem: the image's records, so that five captions of
one image need it once. ``info.json`` beside the shards has the names of the categories and how many
records each split has. Shards of others, as img2dataset makes them, have a caption in a ``.txt`` or
in the ``.json``. See https://github.com/webdataset/webdataset.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import by_file, columns_of
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.data.formats.common.records import AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.tar_files import read_bytes
from glip_pl.data.formats.webdataset.shard_files import INFO, read_info, shards_in, splits_of
from glip_pl.data.formats.webdataset.shard_samples import (
    NO_SAMPLE,
    TEXTS,
    UNNUMBERED,
    sample_records,
    split_name,
)
from glip_pl.data.formats.webdataset.shard_writer import ShardWriter


class WebDatasetShards(Format):
    """Samples in tar files."""

    name: ClassVar[str] = "webdataset"
    holds: ClassVar[frozenset[str]] = frozenset(
        {"categories", "captions", "crowd", "score", "phrase_types", "absent"}
    )

    def __init__(self, max_bytes: int = 1 << 28) -> None:
        """Note how large shards get.

        Args:
            max_bytes: A shard is full with the sample that takes it beyond this.
        """
        self.max_bytes = max_bytes

    def detect(self, path: Path) -> bool:
        """Return whether a path is a tar file or a folder with some."""
        return bool(shards_in(path))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the records of a shard, or of a folder's; images stay where they are.

        The name of an image is "train-000000.tar/0000012.jpg", which `tar_files` reads.

        Raises:
            ValueError: There is no shard, or one is broken.
        """
        shards = shards_in(path)
        if not shards:
            raise ValueError(
                f"{str(path)!r} is no tar file and has none; name the folder of shards"
            )
        root = path if path.is_dir() else path.parent
        info = read_info(root)
        return Splits(
            {
                split: partial(_read_split, root, held, *info.get(split, ({}, {}, 0))[:2])
                for split, held in splits_of(path).items()
            }
        )

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``SPLIT-000000.tar`` and so on, and ``info.json``.

        The records of an image are moved together, so that it is stored once.
        """
        path.mkdir(parents=True, exist_ok=True)
        info = {}
        for split, annotation_set in sets.items():
            writer = ShardWriter(path, split, self.max_bytes)
            for records in by_file(annotation_set.records):
                writer.add(records, read_bytes(annotation_set.images / records[0].file_name))
            writer.close()
            info[split] = {
                "records": len(annotation_set.records),
                "names": annotation_set.names,
                "frequency": annotation_set.frequency,
            }
        (path / INFO).write_text(json.dumps(info))


def _read_split(
    root: Path, shards: Iterable[Path], names: dict[int, str], frequency: dict[int, str]
) -> AnnotationSet:
    problems: Problems = {}
    read = (record for shard in shards for record in _read_shard(shard, problems))
    numbered = (
        replace(record, image_id=place) if record.image_id == UNNUMBERED else record
        for place, record in enumerate(read, start=1)
    )
    return AnnotationSet(root, columns_of(numbered), names, frequency, problems)


def _read_shard(shard: Path, problems: Problems) -> Iterator[Record]:
    """Walk over the records of a shard without reading the images."""
    try:
        with tarfile.open(shard, "r:") as tar:
            members = (member for member in tar if member.isfile())
            for key, group in groupby(members, key=lambda member: split_name(member.name)[0]):
                parts = {split_name(member.name)[1]: member for member in group}
                where = f"sample {key} of {shard.name}"
                images = [part for end, part in parts.items() if f".{end}" in IMAGE_SUFFIXES]
                texts = {e: _content(tar, part) for e, part in parts.items() if e in TEXTS}
                if not images or not texts:
                    note(problems, NO_SAMPLE, where)
                    continue
                file_name = f"{shard.name}/{images[0].name}"
                image = partial(_content, tar, images[0])
                yield from sample_records(texts, image, file_name, problems)
    except (OSError, tarfile.TarError) as error:
        raise ValueError(f"cannot read the shard {str(shard)!r}: {error}; get it anew") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()
