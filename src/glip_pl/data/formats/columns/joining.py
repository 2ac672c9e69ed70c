"""Growing columns joined into arrays, boxes in the order of their images."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from glip_pl.data.formats.columns.lists import Texts, spread, starts
from glip_pl.data.formats.columns.store import (
    CHUNK,
    Array,
    ColumnStore,
    Growing,
    seal_store,
    write_array,
)

_OF_BOXES = ("box", "category", "crowd", "score", "has_score")
_WIDTHS = {"box": (4,), "size": (2,), "span": (2,)}


class Joiner:
    """Joins the columns of one builder; each is dropped as soon as it is written.

    Args:
        columns: The columns by name.
        folder: Where the files go; None for memory.
        images: How many images there are, N.
    """

    def __init__(self, columns: dict[str, Growing], folder: Path | None, images: int) -> None:
        self._columns, self._folder, self._images = columns, folder, images
        self._arrays: dict[str, Array] = {}

    def join(self, left_out: Array | None, words: Iterable[str]) -> ColumnStore:
        """Write all arrays.

        Args:
            left_out: How many boxes each image has lost, [N]; None for what was collected.
            words: The kinds of phrases by their numbers.
        """
        lost = self._columns.pop("left_out", None)
        if left_out is None:
            left_out = np.zeros(self._images, np.int64) if lost is None else lost.whole()
        self._write("left_out", left_out)
        self._boxes_in_order()
        if "kind" in self._arrays:
            letters, at = Texts.of(words).arrays
            self._write("kind_word", letters)
            self._write("kind_word_at", at)
        for name in ("image_id", "size", "has_caption", "has_absent"):
            self._dense(name, None)
        for name in ("name", "caption", "absent", "not_exhaustive"):
            self._lists(name, None)
        if self._folder is None:
            return ColumnStore(self._arrays)
        return seal_store(self._folder, self._arrays)

    def _boxes_in_order(self) -> None:
        """Write all arrays of boxes, in the order of their images."""
        rows = self._columns["row"].whole().astype(np.int32)
        self._drop("row")
        self._write("box_at", starts(np.bincount(rows, minlength=self._images)))
        is_sorted = bool((rows[1:] >= rows[:-1]).all())
        order = None if is_sorted else _stable_order(rows)
        del rows
        parts = self._columns["category"].parts()
        used = sorted({category for part in parts for category in np.unique(part).tolist()})
        self._write("used_category", np.array(used, np.int64))
        for name in _OF_BOXES:
            self._dense(name, order)
        for name in ("span", "kind"):
            self._lists(name, order)

    def _drop(self, name: str) -> None:
        self._columns.pop(name).drop()

    def _write(self, name: str, values: Array) -> None:
        self._arrays[name] = write_array(self._folder, name, values.dtype, values.shape, [values])

    def _dense(self, name: str, order: Array | None) -> None:
        """Write an array of one entry a row, if there is one, in another order than it came in."""
        if name not in self._columns:
            return
        column, width = self._columns[name], _WIDTHS.get(name, ())
        shape = (column.length // math.prod(width), *width)
        parts: Iterator[Array] = column.parts()
        if order is not None:
            whole = column.whole().reshape(shape)
            parts = (whole[order[i : i + CHUNK]] for i in range(0, len(order), CHUNK))
        self._arrays[name] = write_array(self._folder, name, column.dtype, shape, parts)
        self._drop(name)

    def _lists(self, name: str, order: Array | None) -> None:
        """Write an array of lists, if there is one, and where they begin."""
        if name not in self._columns:
            return
        column, counts = self._columns[name], self._columns[f"{name}_count"].whole()
        width = _WIDTHS.get(name, ())
        shape = (column.length // math.prod(width), *width)
        parts: Iterable[Array] = column.parts()
        if order is not None:
            places = spread(starts(counts)[:-1][order], counts[order])
            parts, counts = [column.whole().reshape(shape)[places]], counts[order]
        self._write(f"{name}_at", starts(counts))
        self._arrays[name] = write_array(self._folder, name, column.dtype, shape, parts)
        self._drop(name)
        self._drop(f"{name}_count")


def _stable_order(rows: Array) -> Array:
    """Sort by row, boxes of one row in their order; two passes of 16 bits are the fastest."""
    order = np.argsort((rows & 0xFFFF).astype(np.uint16), kind="stable")
    return order[np.argsort((rows >> 16)[order].astype(np.uint16), kind="stable")]
