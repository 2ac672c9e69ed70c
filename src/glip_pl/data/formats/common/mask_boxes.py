"""Boxes around masks, however tools write them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from glip_pl.data.annotations import Box
from glip_pl.data.formats.common.decoders import MOST_PIXELS
from glip_pl.data.formats.common.values import WRONG

Array = np.ndarray[Any, Any]
_EMPTY = (0.0, 0.0, 0.0, 0.0)
_CHANNELS = 4  # Of the picture that a brush paints on; the last one tells where.


def mask_box(mask: Array) -> Box:
    """Return the box around the true pixels of a mask [H, W], xyxy; one without area for none."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(xs):
        return _EMPTY
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def segmentation_box(segmentation: Any) -> Sequence[float]:
    """Return the box around COCO's segmentation, xyxy; nothing where it is none.

    Args:
        segmentation: Polygons, or a run-length code with its ``counts`` and ``size``.
    """
    try:
        if isinstance(segmentation, Mapping):
            return _run_length_box(segmentation)
        points = [float(value) for polygon in segmentation for value in polygon]
        xs, ys = points[::2], points[1::2]
        return (min(xs), min(ys), max(xs), max(ys)) if len(points) >= 6 else ()
    except WRONG:
        return ()


def _run_length_box(code: Mapping[str, Any]) -> Sequence[float]:
    height, width = (int(side) for side in code["size"])
    counts = code["counts"]
    if not 0 < height * width <= MOST_PIXELS:
        return ()
    if isinstance(counts, str):
        packed = {"size": [height, width], "counts": counts.encode("ascii")}
        mask = coco_mask.decode(packed).astype(bool)
    else:
        runs = np.array(counts, np.int64)
        if runs.min(initial=0) < 0 or runs.sum() != height * width:
            return ()
        levels = np.arange(len(runs)) % 2 == 1
        mask = np.repeat(levels, runs).reshape(width, height).T  # Columns come first.
    return mask_box(mask)


def brush_box(code: Any, size: tuple[int, int]) -> Sequence[float]:
    """Return the box around what Label Studio's brush has painted, xyxy; nothing for no such code.

    The code is a stream of bits: how many values there are (32), the bits of a value less one (5),
    the bits of four kinds of lengths less one (4 each), then runs. A run is a bit that says whether
    its values are equal, the kind of its length (2), its length less one, and the values. See
    ``rle-pack`` of thi.ng/umbrella, which the labelling tool uses.

    Args:
        code: The bytes, as a list of numbers.
        size: (height, width) of the picture in pixels.
    """
    try:
        bits = _Bits(bytes(code))
        height, width = size
        count = bits.take(32)
        if count != height * width * _CHANNELS or height * width > MOST_PIXELS:
            return ()
        values = np.empty(count, np.uint8)
        width_of_value = bits.take(5) + 1
        lengths = [bits.take(4) + 1 for _ in range(4)]
        if width_of_value > 8:
            return ()
        at = 0
        while at < count:
            is_equal = bits.take(1)
            run = bits.take(lengths[bits.take(2)]) + 1
            taken = bits.values(1 if is_equal else run, width_of_value)
            values[at : at + run] = taken[: count - at] if len(taken) > 1 else taken
            at += run
    except WRONG:
        return ()
    return mask_box(values.reshape(height, width, _CHANNELS)[:, :, -1] > 0)


class _Bits:
    """A stream of bits, the highest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._bits, self._at = np.unpackbits(np.frombuffer(content, np.uint8)), 0

    def take(self, count: int) -> int:
        """Take one number of some bits; ValueError at the end."""
        return int("".join(map(str, self._next(count).tolist())), 2)

    def values(self, count: int, width: int) -> Array:
        """Take numbers of at most eight bits each."""
        rows = self._next(count * width).reshape(count, width)
        return np.packbits(rows, axis=1)[:, 0] >> (8 - width)

    def _next(self, count: int) -> Array:
        part = self._bits[self._at : self._at + count]
        if len(part) < count:
            raise ValueError("the code ends too early")
        self._at += count
        return part
