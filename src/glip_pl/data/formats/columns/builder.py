"""Columns from images and boxes that come piece by piece, boxes in any order."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from glip_pl.data.formats.columns.joining import Joiner
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.rows import NO_CATEGORY
from glip_pl.data.formats.columns.store import Array, Growing
from glip_pl.data.formats.common.records import Annotation, Record

_RECORDS = 4_096  # Records that `add` takes at once.


class ColumnsBuilder:
    """Collects images, then their boxes, and joins them.

    Attributes:
        folder: Where the files of the columns go; None keeps them in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._columns: dict[str, Growing] = {}
        self._kinds: dict[str, int] = {}
        self._images = self._boxes = 0
        # Columns that a set without images or boxes has, too.
        self.add_images([], [], [])
        self.add_boxes([], [], [], [])

    def add_images(
        self,
        image_ids: Any,
        sizes: Any,
        names: Sequence[str],
        *,
        captions: Sequence[str | None] | None = None,
        absent: Sequence[Sequence[int] | None] | None = None,
        not_exhaustive: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Add images; their rows count on.

        Args:
            image_ids: Ids, [R].
            sizes: (height, width) in pixels, [R, 2].
            names: File names.
            captions: Their captions; None where no image has one.
            absent: As in `Record`; None where it is known of no image.
            not_exhaustive: As in `Record`; None where it is empty for all.
        """
        before, count = self._images, len(names)
        self._column("image_id", np.int64).append(image_ids)
        self._column("size", np.int64).append(sizes)
        self._texts("name", names)
        if captions is not None or "has_caption" in self._columns:
            given = captions or [None] * count
            self._since(before, "has_caption", bool, [text is not None for text in given])
            self._texts("caption", [text or "" for text in given], before)
        if absent is not None or "has_absent" in self._columns:
            some = absent or [None] * count
            self._since(before, "has_absent", bool, [held is not None for held in some])
            self._lists("absent", np.int64, [held or () for held in some], before)
        if not_exhaustive is not None or "not_exhaustive_count" in self._columns:
            self._lists("not_exhaustive", np.int64, not_exhaustive or [()] * count, before)
        self._images += count

    def add_boxes(
        self,
        rows: Any,
        boxes: Any,
        categories: Any,
        crowd: Any,
        *,
        scores: Sequence[float | None] | None = None,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        kinds: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Add boxes; those of one image keep their order.

        Args:
            rows: The image of each, as its row, [G].
            boxes: xyxy pixels, [G, 4].
            categories: Their categories, `NO_CATEGORY` for none, [G].
            crowd: Whether each is around a crowd, [G].
            scores: Their scores; None where none has one.
            spans: `tokens_positive` of each; None where all are empty.
            kinds: `phrase_types` of each; None where all are empty.
        """
        before, count = self._boxes, len(rows)
        self._column("row", np.int64).append(rows)
        self._column("box", np.float64).append(boxes)
        self._column("category", np.int64).append(categories)
        self._column("crowd", bool).append(crowd)
        if scores is not None or "score" in self._columns:
            given = scores or [None] * count
            self._since(before, "has_score", bool, [score is not None for score in given])
            self._since(before, "score", np.float64, [score or 0.0 for score in given])
        if spans is not None or "span_count" in self._columns:
            self._lists("span", np.int64, spans or [()] * count, before)
        if kinds is not None or "kind_count" in self._columns:
            codes = [
                [self._kinds.setdefault(word, len(self._kinds)) for word in words]
                for words in kinds or [()] * count
            ]
            self._lists("kind", np.int64, codes, before)
        self._boxes += count

    def add(self, records: Iterable[Record]) -> None:
        """Add records with their boxes."""
        walk = iter(records)
        while some := list(islice(walk, _RECORDS)):
            first = self._images
            self._since(first, "left_out", np.int64, [record.left_out for record in some])
            self.add_images(
                [record.image_id for record in some],
                [record.size for record in some],
                [record.file_name for record in some],
                captions=_unless_all([r.caption for r in some], None),
                absent=_unless_all([r.absent for r in some], None),
                not_exhaustive=_unless_all([r.not_exhaustive for r in some], ()),
            )
            counts = [len(record.annotations) for record in some]
            self.add_annotations(
                np.repeat(np.arange(first, first + len(some)), counts),
                list(chain.from_iterable(record.annotations for record in some)),
            )

    def add_annotations(self, rows: Any, annotations: Sequence[Annotation]) -> None:
        """Add boxes of images, which are given as rows, [G]."""
        ids = [NO_CATEGORY if a.category is None else a.category for a in annotations]
        self.add_boxes(
            rows,
            np.array([a.box for a in annotations], np.float64),
            ids,
            [a.crowd for a in annotations],
            scores=_unless_all([a.score for a in annotations], None),
            spans=_unless_all([a.tokens_positive for a in annotations], ()),
            kinds=_unless_all([a.phrase_types for a in annotations], ()),
        )

    def add_images_of(self, records: ColumnRecords) -> None:
        """Add the images of records without their boxes."""
        for start in range(0, len(records), _RECORDS):
            some = records[start : start + _RECORDS]
            words: dict[str, Any] = {}
            if "has_caption" in records.columns:
                given = zip(some.captions(), some.has_captions.tolist(), strict=True)
                words["captions"] = [text if has else None for text, has in given]
            if "has_absent" in records.columns or "not_exhaustive" in records.columns:
                made = list(some)
                words["absent"] = _unless_all([r.absent for r in made], None)
                words["not_exhaustive"] = _unless_all([r.not_exhaustive for r in made], ())
            self.add_images(some.image_ids, some.sizes, list(some.file_names()), **words)

    def finish(self, left_out: Array | None = None) -> ColumnRecords:
        """Join what was added; nothing can be added afterwards.

        Args:
            left_out: How many boxes each image has lost, [N]; None for what `add` was told.
        """
        joiner = Joiner(self._columns, self.folder, self._images)
        return ColumnRecords(joiner.join(left_out, self._kinds))

    def _column(self, name: str, dtype: Any) -> Growing:
        if name not in self._columns:
            self._columns[name] = Growing(self.folder, name, dtype)
        return self._columns[name]

    def _since(self, before: int, name: str, dtype: Any, values: Any) -> None:
        """Append to a column that may begin here; what went before has zeros."""
        if name not in self._columns:
            self._column(name, dtype).append(np.zeros(before, dtype))
        self._column(name, dtype).append(values)

    def _texts(self, name: str, texts: Sequence[str], before: int = 0) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._since(before, f"{name}_count", np.int64, list(map(len, encoded)))
        self._column(name, np.uint8).append(np.frombuffer(b"".join(encoded), np.uint8))

    def _lists(self, name: str, dtype: Any, lists: Sequence[Sequence[Any]], before: int) -> None:
        self._since(before, f"{name}_count", np.int64, list(map(len, lists)))
        self._column(name, dtype).append(np.array(list(chain.from_iterable(lists)), dtype))


def columns_of(records: Iterable[Record]) -> ColumnRecords:
    """Put records into columns as they come, in memory, unless they are in columns."""
    if isinstance(records, ColumnRecords):
        return records
    builder = ColumnsBuilder()
    builder.add(records)
    return builder.finish()


def by_file(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Walk over the records of each file, in the order of the first of each."""
    held, places = columns_of(records), dict[str, list[int]]()
    for place, name in enumerate(held.file_names()):
        places.setdefault(name, []).append(place)
    return ([held[place] for place in some] for some in places.values())


def _unless_all(values: list[Any], nothing: Any) -> list[Any] | None:
    """Return values, or None where all are nothing."""
    return None if all(value == nothing for value in values) else values
