"""Writing shards: samples fill one tar file after the other."""

import json
import tarfile
from io import BytesIO
from pathlib import Path, PurePosixPath

from glip_pl.data.formats.common.records import Record
from glip_pl.data.formats.webdataset.shard_samples import to_json


class ShardWriter:
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
