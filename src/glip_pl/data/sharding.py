"""From a description of data to one that is streamed: its training sets as shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.descriptions import read_described
from glip_pl.data.descriptors import read_descriptor
from glip_pl.data.formats import FORMATS
from glip_pl.data.formats.common.image_files import without_broken_images
from glip_pl.data.report import count_of, list_problems
from glip_pl.data.upkeep import write_whole
from glip_pl.system.screen import next_command

# What sorts by shape, which a stream cannot.
_SORTING = ("group_by_aspect", "scale_by_batch")
# Where the annotations of a set lie, which the shards make out of date.
_PLACE = ("images", "format", "split")


def write_shards(source: str, target: Path, *, root: str | None = None) -> Iterator[str]:
    """Write the training sets of a description as shards, and a description that streams them.

    A set whose folder is there already is not written again, so that a run that was stopped goes
    on.

    Args:
        source: See `read_descriptor`.
        target: The folder; it gets one of shards per set, and ``data.yaml``.
        root: Folder of the data, where it is not the one that the description names.

    Yields:
        What was done, in lines for people, as it is done.

    Raises:
        ValueError: The description cannot be used, has no training set, or is a stream already.
    """
    data = read_descriptor(source, root=root, advice="SOURCE")
    document = read_described(source, advice="SOURCE")
    described: dict[str, Any] = document["data"]
    if data.sampling.stream or not data.train:
        why = "is streamed already" if data.sampling.stream else "has no training set"
        raise ValueError(f"{source!r} {why}; name the description of sets to be written as shards")
    data.prepare_data()
    base = data.root.absolute()
    for number, dataset in enumerate(data.train):
        folder = target.absolute() / f"{number}_{Path(dataset.annotations).stem or dataset.split}"
        yield from _write(dataset, base, folder)
        options = described["train"][number]["init_args"]
        for key in _PLACE:
            options.pop(key, None)
        options["annotations"] = str(folder)
    sampling: dict[str, Any] = described.get("sampling") or {}
    for key in _SORTING:
        if sampling.pop(key, None):
            yield f"left out: data.sampling.{key}, since a stream cannot be sorted"
    described |= {"root": str(base), "sampling": {**sampling, "stream": True}}
    file = target / "data.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    yield next_command("glip", "fit", f"--data={file}")


def _write(dataset: GroundingDataset, root: Path, folder: Path) -> Iterator[str]:
    """Write one set, unless it is there."""
    if folder.exists():
        yield f"{folder}: there already"
        return
    found = dataset.read_set(root / dataset.annotations, root / dataset.images)
    usable, _ = without_broken_images(found)
    if not usable.records:
        raise ValueError(f"{dataset.annotations!r} has no usable image; run glip data check on it")
    problems = {"train": usable.problems} if usable.problems else {}
    write_whole(FORMATS["webdataset"], {"train": usable}, folder, problems)
    yield f"{folder}: {count_of(usable)}"
    yield from (f"  {line}" for line in list_problems(usable.problems))
