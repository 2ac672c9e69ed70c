"""The images of COCO-shaped JSON as columns: those that are meant without doubt.

Ids are compared as numbers, as tools write them: "007", "07" and 7 are one. An id that several
images share may mean any of them, so that none of their boxes can be placed: all are left out.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.store import Array
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.json_pieces import JsonList, JsonPiece
from glip_pl.data.formats.common.paths import ImageFolder
from glip_pl.data.formats.common.records import Record
from glip_pl.data.formats.common.values import WRONG, objects, whole_number

# Ids that lie so much wider than there are images are searched for, not looked up.
_SPARSE = 16
_ONCE = ("id", "file_name", "height", "width")


class ImageFields(msgspec.Struct, gc=False):
    """What a well-formed image entry has; a subclass knows where else the name may stand."""

    id: int
    height: int
    width: int
    file_name: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def name(self) -> str:
        """The name of the file.

        Raises:
            TypeError: There is none.
        """
        if self.file_name is msgspec.UNSET:
            raise TypeError("an image without file_name")
        return self.file_name

    @classmethod
    def lists(cls, entries: Sequence[Any]) -> dict[str, Any]:
        """Return what else of the entries `ColumnsBuilder.add_images` takes."""
        return {}


def named_images(
    listed: JsonList,
    problems: Problems,
    make: Callable[[Mapping[str, Any]], Record],
    fields: type[ImageFields] = ImageFields,
) -> ColumnRecords:
    """Read the image entries that tell what is needed, in their order.

    Args:
        listed: The entries.
        problems: Gains those that do not.
        make: Reads an entry that anyone may have written; raises one of `WRONG`.
        fields: What well-formed entries have, which are read many at once.
    """
    builder = ColumnsBuilder()
    decoder = msgspec.json.Decoder(list[fields])  # type: ignore[valid-type]
    position = 0
    for piece in listed.pieces:
        count = _add_exact(builder, piece, decoder, fields)
        position += count
        if not count:
            entries = objects(piece.values())
            builder.add(_records(entries, position, problems, make))
            position += len(entries)
    return builder.finish()


def _add_exact(
    builder: ColumnsBuilder,
    piece: JsonPiece,
    decoder: "msgspec.json.Decoder[list[Any]]",
    fields: type[ImageFields],
) -> int:
    """Add the images of a piece if all are well-formed, and count them."""
    entries = piece.decode(decoder, once=_ONCE)
    if entries is None:
        return 0
    try:
        ids = array("q", map(attrgetter("id"), entries))
        sizes = np.array([(entry.height, entry.width) for entry in entries], np.int64)
        names = [entry.name for entry in entries]
    except (TypeError, OverflowError):
        return 0
    if sizes.min() < 1 or min(ids) == -(1 << 63):
        return 0
    builder.add_images(ids, sizes, names, **fields.lists(entries))
    return len(entries)


def _records(
    entries: Sequence[Mapping[str, Any]],
    position: int,
    problems: Problems,
    make: Callable[[Mapping[str, Any]], Record],
) -> list[Record]:
    records = []
    for place, entry in enumerate(entries, start=position):
        try:
            record = make(entry)
            np.array(record.size, np.int64)
            records.append(record)
        except WRONG:
            note(problems, checks.NO_RECORD, f"image {place} of the list")
    return records


def without_repeats(images: ColumnRecords, problems: Problems) -> ColumnRecords:
    """Leave out the images whose id others have; of entries of one file the first stays."""
    _, inverse, counts = np.unique(images.image_ids, return_inverse=True, return_counts=True)
    kept = np.ones(len(images), bool)
    repeated = {
        place: (int(images.image_ids[place]), images.file_name(place))
        for place in np.flatnonzero(counts[inverse] > 1).tolist()
    }
    files: dict[int, set[str]] = {}
    for image_id, name in repeated.values():
        files.setdefault(image_id, set()).add(name)
    seen = set()
    for place, (image_id, name) in repeated.items():
        if len(files[image_id]) > 1 or image_id in seen:
            note(problems, checks.REPEATED_IMAGE, f"{image_id} of {name}")
            kept[place] = False
        seen.add(image_id)
    return images.take(kept)


def found_images(
    images: ColumnRecords, folder: ImageFolder, sources: Mapping[int, str] | None = None
) -> ColumnRecords:
    """Find the image files; a file that several names may mean is that of none of them.

    Args:
        images: The images.
        folder: Where the files lie.
        sources: Of some ids, the folder below that the file may lie in (GoldG's ``data_source``).

    Returns:
        The images whose file is certain, with the names that the files have below the folder.
    """
    within = [(sources or {}).get(i, "") for i in images.image_ids.tolist()] if sources else []
    return folder.certain(
        images.with_files(lambda place, name: folder.find(name, within[place] if within else ""))
    )


class RowsOfIds:
    """The row of each image by its id.

    Args:
        listed: Ids of all images of the JSON, [N].
        usable: Ids of those that can be used, [R], in the order of their rows.
    """

    UNKNOWN, UNUSABLE = -2, -1

    def __init__(self, listed: Array, usable: Array) -> None:
        everyone = np.unique(listed)
        self._low = int(everyone[0]) if len(everyone) else 0
        span = int(everyone[-1]) - self._low + 1 if len(everyone) else 0
        self._ids = None if span <= _SPARSE * (len(everyone) + 1000) else everyone
        if self._ids is None:
            self._rows = np.full(span + 1, self.UNKNOWN, np.int64)
            self._rows[everyone - self._low] = self.UNUSABLE
            self._rows[usable - self._low] = np.arange(len(usable))
        else:
            self._rows = np.full(len(everyone), self.UNUSABLE, np.int64)
            self._rows[np.searchsorted(everyone, usable)] = np.arange(len(usable))

    def of(self, entries: Sequence[Mapping[str, Any]], key: str) -> list[int]:
        """Return the row of each entry by the id that it has under a key."""
        ids = [whole_number(entry.get(key)) for entry in entries]
        rows = self(np.array([0 if i is None else i for i in ids], np.int64)).tolist()
        return [self.UNKNOWN if i is None else row for i, row in zip(ids, rows, strict=True)]

    def __call__(self, ids: Array) -> Array:
        """Return the row of each id, `UNUSABLE` or `UNKNOWN`, int64 [G]."""
        if self._ids is None:
            last = len(self._rows) - 1  # Which is nobody's.
            inside = (ids >= self._low) & (ids < self._low + last)
            return self._rows[np.where(inside, ids - self._low, last)]
        places = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        return np.where(self._ids[places] == ids, self._rows[places], self.UNKNOWN)
