"""The boxes of COCO's JSON as columns: checked many at once, told one by one what is wrong."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from glip_pl.data.annotations import Problems, name_of
from glip_pl.data.formats.coco.box_parts import NO_NUMBER, BoxPart, entries_at, read_part
from glip_pl.data.formats.coco.listed_images import RowsOfIds
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.store import Array, Growing
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.json_pieces import JsonList, JsonPiece
from glip_pl.data.formats.common.side_processes import parse_beside
from glip_pl.data.formats.common.values import whole_number

# What may be wrong with a box, by code; up to `_CLIPPED` it can be used.
_KINDS = (None, checks.CLIPPED, checks.NO_BOX, checks.INVERTED, checks.NO_AREA, checks.OUTSIDE)
_CLIPPED = 1


class BoxReader:
    """Reads the annotations of a file into a builder of columns.

    Attributes:
        used: How many annotations have each category id.
        unread: How many have what a set does not keep.
        left_out: How many boxes each image has lost, [R].

    Args:
        listed: Ids of all images of the JSON, [N]; boxes of those that are not usable are passed
            over, since their image has been counted.
        images: The usable images.
        names: The categories.
        builder: Takes the boxes.
        problems: Gains what is left out or changed.
    """

    def __init__(
        self,
        listed: Array,
        images: ColumnRecords,
        names: Mapping[int, str],
        builder: ColumnsBuilder,
        problems: Problems,
    ) -> None:
        self.used: Counter[int] = Counter()
        self.unread: Counter[str] = Counter()
        self.left_out = np.zeros(len(images), np.int64)
        self._rows = RowsOfIds(listed, images.image_ids)
        self._image_ids, self._sizes = images.image_ids, images.sizes
        self._categories = np.array(sorted(names), np.int64)
        self._builder, self._problems = builder, problems
        self._ids = Growing(builder.folder, "annotation_id", np.int64)
        self._kept_rows = Growing(builder.folder, "annotation_row", np.int64)
        self._texts: set[str] = set()

    def read(self, annotations: JsonList) -> None:
        """Read all annotations; those whose id others have stay, and are told."""
        parts = parse_beside(annotations.pieces, read_part)
        for piece, part in zip(annotations.pieces, parts, strict=True):
            self._take(piece, part)
        self._tell_repeats()

    def _take(self, piece: JsonPiece, part: BoxPart) -> None:
        self._count(part)
        rows = self._rows(part.image_ids)
        rows[part.image_ids == NO_NUMBER] = RowsOfIds.UNKNOWN
        usable = rows >= 0
        named = np.isin(part.categories, self._categories)
        sizes = self._sizes[np.where(usable, rows, 0)] if len(self._sizes) else np.ones((1, 2))
        boxes, kinds = checked_boxes(part.corners, sizes)
        kept = usable & named & (kinds <= _CLIPPED) & ~part.bad_scores
        self._tell(piece, part, rows, named, kinds)
        self.left_out += np.bincount(rows[usable & ~kept], minlength=len(self.left_out))
        scores = part.scores
        self._builder.add_boxes(
            rows[kept],
            boxes[kept],
            part.categories[kept],
            part.crowd[kept],
            scores=None if scores is None else [scores[i] for i in np.flatnonzero(kept).tolist()],
        )
        self._ids.append(part.ids[kept])
        self._kept_rows.append(rows[kept])
        for place in sorted(part.text_ids.keys() & set(np.flatnonzero(kept).tolist())):
            text = part.text_ids[place]
            if text in self._texts:
                (entry,) = entries_at(piece, [place])
                note(self._problems, checks.REPEATED_ANNOTATION, name_of(entry))
            self._texts.add(text)

    def _count(self, part: BoxPart) -> None:
        ids, counts = np.unique(part.categories, return_counts=True)
        for category, count in zip(ids.tolist(), counts.tolist(), strict=True):
            if category != NO_NUMBER:
                self.used[category] += count
        self.unread.update(part.unread)

    def _tell(
        self, piece: JsonPiece, part: BoxPart, rows: Array, named: Array, kinds: Array
    ) -> None:
        """Note what is wrong, each with the entry as it is written."""
        usable = rows >= 0
        wrong = (rows == RowsOfIds.UNKNOWN) | usable & (~named | (kinds > 0) | part.bad_scores)
        places = np.flatnonzero(wrong).tolist()
        for place, entry in zip(places, entries_at(piece, places) if places else [], strict=True):
            name = name_of(entry)
            if rows[place] == RowsOfIds.UNKNOWN:
                note(self._problems, checks.UNKNOWN_IMAGE, name)
            elif not named[place]:
                category = whole_number(entry.get("category_id"))
                note(self._problems, checks.UNKNOWN_CATEGORY, f"{name}: {category}")
            else:
                note(self._problems, _KINDS[kinds[place]], f"{name}: {entry.get('bbox')}")
                if kinds[place] <= _CLIPPED and part.bad_scores[place]:
                    note(self._problems, checks.NO_SCORE, f"{name}: {entry['score']}")

    def _tell_repeats(self) -> None:
        """Note the boxes whose id an earlier one has."""
        ids = self._ids.whole()
        ascending = bool((ids[1:] > ids[:-1]).all())
        self._ids.drop()
        if not ascending:
            order = np.argsort(ids, kind="stable")
            ordered = ids[order]
            later = order[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != NO_NUMBER)]
            rows = self._kept_rows.whole()
            for place in np.sort(later).tolist():
                entry = {"id": int(ids[place]), "image_id": int(self._image_ids[rows[place]])}
                note(self._problems, checks.REPEATED_ANNOTATION, name_of(entry))
        self._kept_rows.drop()


def checked_boxes(corners: Array, sizes: Array) -> tuple[Array, Array]:
    """Do as `checks.checked_box` with many boxes.

    Args:
        corners: x1, y1, x2, y2 in pixels, [n, 4].
        sizes: (height, width) of each box's image in pixels, [n, 2].

    Returns:
        The boxes inside their images, and the code of what is wrong with each in `_KINDS`.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        limits = sizes[:, ::-1].astype(np.float64)
        low, high = corners[:, :2], corners[:, 2:]
        inside_low, inside_high = np.maximum(low, 0.0), np.minimum(high, limits)
        cut = np.maximum(inside_low - low, high - inside_high).max(1, initial=-np.inf)
        kinds = np.where(cut > checks.ROUNDING, _CLIPPED, 0).astype(np.int8)
        kinds[(inside_low >= inside_high).any(1)] = _KINDS.index(checks.OUTSIDE)
        kinds[(low == high).any(1)] = _KINDS.index(checks.NO_AREA)
        kinds[(low > high).any(1)] = _KINDS.index(checks.INVERTED)
        # Added in the order of `checked_box`, since a sum of finite numbers may not be finite.
        total = corners[:, 0] + corners[:, 1] + corners[:, 2] + corners[:, 3]
        kinds[~np.isfinite(total)] = _KINDS.index(checks.NO_BOX)
    return np.concatenate([inside_low, inside_high], 1), kinds
