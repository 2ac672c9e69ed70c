"""Records over columns: made one at a time, when they are asked for.

Lists of different lengths lie one behind the other in one array, and an array ``..._at`` has where
each begins and, last, where all end: the boxes of row 7 are ``box[box_at[7]:box_at[8]]``. Arrays
that would say nothing ("score" where no box has one) are not there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from glip_pl.data.formats.columns.lists import Texts, spread, starts
from glip_pl.data.formats.columns.rows import record_of
from glip_pl.data.formats.columns.store import Array, ColumnStore
from glip_pl.data.formats.common.records import Record


class ColumnRecords(Sequence[Record]):
    """The records of a set, or some of them in any order.

    Attributes:
        columns: The arrays.
        rows: Which rows of them the records are, [R]; None for all.
    """

    def __init__(
        self, columns: ColumnStore, rows: Array | None = None, names: Texts | None = None
    ) -> None:
        """Take the records of some rows.

        Args:
            columns: The arrays.
            rows: The rows, [R]; None for all.
            names: File names of the records in their order, in place of those of the columns.
        """
        self.columns, self.rows, self._names = columns, rows, names

    def __len__(self) -> int:
        return len(self.columns["image_id"]) if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "ColumnRecords": ...
    def __getitem__(self, index: int | slice) -> "Record | ColumnRecords":
        """Make a record, or take some as a sequence of their own."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        row = place if self.rows is None else int(self.rows[place])
        return record_of(self.columns, row, self.file_name(place))

    def __iter__(self) -> Iterator[Record]:
        rows = range(len(self)) if self.rows is None else self.rows.tolist()
        return (
            record_of(self.columns, row, name)
            for row, name in zip(rows, self.file_names(), strict=True)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def take(self, places: Array) -> "ColumnRecords":
        """Take the records at some places, [T], or where a mask [R] is true."""
        if places.dtype == bool:
            if places.all():
                return self
            places = np.flatnonzero(places)
        rows = places if self.rows is None else self.rows[places]
        return ColumnRecords(self.columns, rows, self._names and self._names.take(places))

    def with_names(self, names: Iterable[str]) -> "ColumnRecords":
        """Return the records with other file names, in their order."""
        return ColumnRecords(self.columns, self.rows, Texts.of(names))

    def with_files(self, find: Callable[[int, str], str | None]) -> "ColumnRecords":
        """Keep the records whose image file is found, under the name that it is found by.

        Args:
            find: Returns that name for the place of a record and its name; None for no file.
        """
        kept, other = np.zeros(len(self), bool), dict[int, str]()
        for place, name in enumerate(self.file_names()):
            found = find(place, name)
            kept[place] = found is not None
            if found is not None and found != name:
                other[place] = found
        if not other:
            return self.take(kept)
        names = (other.get(place, name) for place, name in enumerate(self.file_names()))
        return self.with_names(names).take(kept)

    def with_categories(self, new: Mapping[int, int]) -> "ColumnRecords":
        """Return the records with other numbers of their categories, all of which `new` has."""
        old = np.array(sorted(new), np.int64)
        numbers = np.array([new[i] for i in old.tolist()], np.int64)
        changed = {
            name: numbers[np.searchsorted(old, self.columns[name])]
            for name in ("category", "used_category")
        }
        return ColumnRecords(ColumnStore({**self.columns, **changed}), self.rows, self._names)

    @property
    def image_ids(self) -> Array:
        """The id of each record's image, int64 [R]."""
        return self._of_rows("image_id")

    @property
    def sizes(self) -> Array:
        """(height, width) of each record's image in pixels, int64 [R, 2]."""
        return self._of_rows("size")

    @property
    def box_counts(self) -> Array:
        """How many boxes each record has, int64 [R]."""
        counts = np.diff(self.columns["box_at"])
        return counts if self.rows is None else counts[self.rows]

    @property
    def has_captions(self) -> Array:
        """Whether each record has a caption, bool [R]."""
        return self._flags("has_caption")

    @property
    def was_searched(self) -> Array:
        """Whether it is known of each record what is absent, bool [R]."""
        return self._flags("has_absent")

    @property
    def left_out(self) -> Array:
        """How many boxes each record has lost, int64 [R]."""
        return self._of_rows("left_out")

    def file_name(self, place: int) -> str:
        """Return the file name of one record."""
        if self._names is not None:
            return self._names[place]
        row = place if self.rows is None else int(self.rows[place])
        return Texts(self.columns["name"], self.columns["name_at"])[row]

    def file_names(self) -> Iterator[str]:
        """Walk over the file names."""
        if self._names is not None:
            yield from self._names
            return
        names = Texts(self.columns["name"], self.columns["name_at"])
        yield from names if self.rows is None else names.take(self.rows)

    def category_ids(self, place: int) -> Array:
        """Return the category of each box of one record, `NO_CATEGORY` for none, int64 [G]."""
        row = place if self.rows is None else int(self.rows[place])
        begin, end = self.columns["box_at"][row : row + 2].tolist()
        return self.columns["category"][begin:end]

    def captions(self) -> Iterator[str]:
        """Walk over the captions; a record without one has an empty one."""
        if "caption" not in self.columns:
            yield from ("" for _ in range(len(self)))
            return
        texts = Texts(self.columns["caption"], self.columns["caption_at"])
        yield from texts if self.rows is None else texts.take(self.rows)

    @property
    def caption_bytes(self) -> Array:
        """How long each record's caption is in UTF-8, int64 [R]."""
        if "caption" not in self.columns:
            return np.zeros(len(self), np.int64)
        lengths = np.diff(self.columns["caption_at"])
        return lengths if self.rows is None else lengths[self.rows]

    def shows_only(self, categories: Sequence[int]) -> Array:
        """Whether all boxes of each record have one of some categories, bool [R]."""
        known = np.array(sorted(categories), np.int64)
        if np.isin(self.columns["used_category"], known).all():
            return np.ones(len(self), bool)
        wrong = [~np.isin(part, known) for (part,) in self.box_parts("category")]
        shows_only: Array = self._count(wrong) == 0
        return shows_only

    def count_linked(self, above: float | None = None) -> Array:
        """Count the boxes of each record that show a phrase, int64 [R].

        Args:
            above: Count those that a person drew, or that have a score above this.
        """
        if "span_at" not in self.columns:
            return np.zeros(len(self), np.int64)
        linked = np.diff(self.columns["span_at"]) > 0
        if above is not None and "score" in self.columns:
            linked &= ~self.columns["has_score"] | (self.columns["score"] > above)
        sums = starts(linked)
        counts = np.diff(sums[self.columns["box_at"]])
        return counts if self.rows is None else counts[self.rows]

    def count_boxes(self, flag: str) -> int:
        """Count the boxes of which a flag is true ("crowd"); none where there is no such array."""
        if flag not in self.columns:
            return 0
        return sum(int(part.sum()) for (part,) in self.box_parts(flag))

    def count_categories(self) -> Counter[int]:
        """Count the boxes of each category."""
        counts: Counter[int] = Counter()
        for (part,) in self.box_parts("category"):
            ids, uses = np.unique(part, return_counts=True)
            counts.update(dict(zip(ids.tolist(), uses.tolist(), strict=True)))
        return counts

    def _count(self, flags: Sequence[Array]) -> Array:
        """Count the true flags of each record, given those of all boxes in parts."""
        sums = starts(np.concatenate([np.zeros(0, bool), *flags]))
        return np.diff(sums[starts(self.box_counts)])

    def box_parts(self, *names: str, size: int = 1 << 18) -> Iterator[tuple[Array, ...]]:
        """Walk over arrays of the boxes of all records, so many boxes at a time at most.

        Args:
            names: The arrays, which must be there.
            size: Boxes at a time; those of one record are not parted.
        """
        ends = np.cumsum(self.box_counts)
        begin = 0
        while begin < len(self):
            done = ends[begin - 1] if begin else 0
            # A record of more boxes than that is a part of its own.
            stop = max(int(np.searchsorted(ends, done + size, side="right")), begin + 1)
            places = self._boxes_of(begin, stop)
            yield tuple(self.columns[name][places] for name in names)
            begin = stop

    def _boxes_of(self, begin: int, stop: int) -> Any:
        """Return where the boxes of some records lie, as a slice or positions."""
        at = self.columns["box_at"]
        if self.rows is None:
            return slice(int(at[begin]), int(at[stop]))
        rows = self.rows[begin:stop]
        return spread(at[rows], at[rows + 1] - at[rows])

    def _of_rows(self, name: str) -> Array:
        held = self.columns[name]
        return held if self.rows is None else held[self.rows]

    def _flags(self, name: str) -> Array:
        return self._of_rows(name) if name in self.columns else np.zeros(len(self), bool)
