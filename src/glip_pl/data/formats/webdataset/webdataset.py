"""WebDataset: tar files of a few hundred megabytes, for sets with too many files for a folder.

A sample is an image and a ``.json`` of the same stem: the image's records, so that five captions of
one image need it once. ``info.json`` beside the shards has the names of the categories and how many
records each split has. Shards of others, as img2dataset makes them, have a caption in a ``.txt`` or
in the ``.json``. See https://github.com/webdataset/webdataset.
"""

import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import ClassVar

from webdataset.tariterators import tarfile_samples

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import by_file, columns_of
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.data.formats.common.records import AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.tar_files import read_bytes
from glip_pl.data.formats.common.values import WRONG
from glip_pl.data.formats.webdataset.shard_samples import (
    TEXTS,
    UNNUMBERED,
    sample_records,
    split_name,
    to_json,
)

INFO = "info.json"


@dataclass(frozen=True)
class Shards:
    """The shards of one split, before any of them is read.

    Attributes:
        files: The tar files.
        common: What all records share; it has none.
        count: How many records they have.
    """

    files: list[Path]
    common: AnnotationSet
    count: int

    def with_records(self, records: list[Record]) -> AnnotationSet:
        """Join records with what all share."""
        return replace(self.common, records=records)


_NUMBER = re.compile(r"[-_]?\d+$")
BROKEN_SHARD = "shard that breaks off"
NO_SAMPLE = "sample without an image, or without a json or txt"


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
        return bool(_shards(path))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the records of a shard, or of a folder's; images stay where they are.

        The name of an image is "train-000000.tar/0000012.jpg", which `tar_files` reads.

        Raises:
            ValueError: There is no shard, or one is broken.
        """
        shards = _shards(path)
        if not shards:
            raise ValueError(
                f"{str(path)!r} is no tar file and has none; name the folder of shards"
            )
        root = path if path.is_dir() else path.parent
        info = _read_info(root)
        return Splits(
            {
                split: partial(_read_split, root, held, *info.get(split, ({}, {}, 0))[:2])
                for split, held in _splits(path).items()
            }
        )

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``SPLIT-000000.tar`` and so on, and ``info.json``.

        The records of an image are moved together, so that it is stored once.
        """
        path.mkdir(parents=True, exist_ok=True)
        info = {}
        for split, annotation_set in sets.items():
            writer = _ShardWriter(path, split, self.max_bytes)
            for records in by_file(annotation_set.records):
                writer.add(records, read_bytes(annotation_set.images / records[0].file_name))
            writer.close()
            info[split] = {
                "records": len(annotation_set.records),
                "names": annotation_set.names,
                "frequency": annotation_set.frequency,
            }
        (path / INFO).write_text(json.dumps(info))


def open_shards(path: Path, split: str | None) -> Shards:
    """Find the shards of a split without reading them.

    Args:
        path: The folder.
        split: Name of the split, where there are several.

    Raises:
        ValueError: There are no shards, it is not clear which are meant, or `info.json` is missing.
    """
    splits = _splits(path)
    info = _read_info(path)
    if split is None and len(splits) == 1:
        (split,) = splits
    if split not in splits or split not in info:
        known = ", ".join(name for name in splits if name in info) or "no shards"
        raise ValueError(
            f"{str(path)!r} has {known} that {INFO} describes, and {split!r} was asked for; "
            "correct `annotations` and `split`, or write the shards by glip data convert"
        )
    names, frequency, count = info[split]
    return Shards(splits[split], AnnotationSet(path, [], names, frequency), count)


def stream_records(
    files: Iterable[Path], problems: Problems
) -> Iterator[tuple[list[Record], bytes]]:
    """Read shards from front to back: the records of each image, and its file's bytes.

    A shard that is cut off or broken is counted, and left where it breaks.
    """
    for file in files:

        def count(_: Exception, name: str = file.name) -> bool:
            if name not in problems.get(BROKEN_SHARD, ()):  # Two steps of reading may complain.
                note(problems, BROKEN_SHARD, name)
            return True

        for sample in tarfile_samples(iter([{"url": str(file)}]), handler=count):
            key = f"sample {sample['__key__']} of {file.name}"
            image = next((end for end in sample if f".{end}" in IMAGE_SUFFIXES), None)
            texts = {end: sample[end] for end in TEXTS if end in sample}
            if image is None or not texts:
                note(problems, NO_SAMPLE, key)
                continue
            content = sample[image]
            file_name = f"{file.name}/{sample['__key__']}.{image}"
            yield sample_records(texts, partial(bytes, content), file_name, problems), content


class _ShardWriter:
    """Fills one shard after the other."""

    def __init__(self, folder: Path, split: str, max_bytes: int) -> None:
        self.folder, self.split, self.max_bytes = folder, split, max_bytes
        self.shards = self.samples = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, records: list[Record], image: bytes) -> None:
        """Write a sample, and end the shard when it is full."""
        if self._tar is None:
            self._tar = tarfile.open(self.folder / f"{self.split}-{self.shards:06d}.tar", "w")
            self.shards += 1
        key = f"{self.samples:08d}"
        suffix = PurePosixPath(records[0].file_name).suffix.lower()
        for end, content in ((suffix, image), (".json", json.dumps(to_json(records)).encode())):
            member = tarfile.TarInfo(key + end)
            member.size = len(content)
            self._tar.addfile(member, BytesIO(content))
        self.samples += 1
        if self._tar.offset >= self.max_bytes:
            self.close()

    def close(self) -> None:
        """End the shard."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None


def _shards(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".tar" and tarfile.is_tarfile(path) else []
    return sorted(path.glob("*.tar"))


def _splits(path: Path) -> dict[str, list[Path]]:
    """Sort shards by the split that their names start with; a lone file is "all"."""
    splits: dict[str, list[Path]] = {}
    for shard in _shards(path):
        split = _NUMBER.sub("", shard.stem) if path.is_dir() else ""
        splits.setdefault(split or "all", []).append(shard)
    return splits


def _read_info(root: Path) -> dict[str, tuple[dict[int, str], dict[int, str], int]]:
    """Read the names and frequencies of the categories of each split, and count its records."""
    file = root / INFO
    if not file.is_file():
        return {}
    try:
        return {
            split: (
                _by_number(held["names"]),
                _by_number(held["frequency"]),
                int(held.get("records", 0)),
            )
            for split, held in json.loads(file.read_bytes()).items()
        }
    except WRONG as error:
        raise ValueError(f"cannot read {str(file)!r} ({error!r}); write the shards anew") from error


def _by_number(texts: Mapping[str, str]) -> dict[int, str]:
    return {int(number): str(text) for number, text in texts.items()}


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
