"""Reading shards from front to back, as a stream does."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from webdataset.tariterators import tarfile_samples

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.data.formats.common.records import Record
from glip_pl.data.formats.webdataset.shard_samples import NO_SAMPLE, TEXTS, sample_records

BROKEN_SHARD = "shard that breaks off"


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
