"""One row of columns as a record."""

from glip_pl.data.formats.columns.lists import Texts
from glip_pl.data.formats.columns.store import ColumnStore
from glip_pl.data.formats.common.records import Annotation, Record

# What stands for no category; as an id it is refused, see `whole_number`.
NO_CATEGORY = -(1 << 63)


def record_of(held: ColumnStore, row: int, name: str) -> Record:
    """Make the record of a row, under a file name."""
    height, width = held["size"][row].tolist()
    caption = absent = None
    if "has_caption" in held and held["has_caption"][row]:
        caption = Texts(held["caption"], held["caption_at"])[row]
    if "has_absent" in held and held["has_absent"][row]:
        absent = _numbers(held, "absent", row)
    return Record(
        int(held["image_id"][row]),
        name,
        (height, width),
        _annotations(held, row),
        caption,
        absent,
        _numbers(held, "not_exhaustive", row),
        int(held["left_out"][row]),
    )


def _numbers(held: ColumnStore, name: str, row: int) -> tuple[int, ...]:
    """Return a row's list of numbers; an empty one where there is no such array."""
    if name not in held:
        return ()
    begin, end = held[f"{name}_at"][row : row + 2].tolist()
    return tuple(held[name][begin:end].tolist())


def _annotations(held: ColumnStore, row: int) -> tuple[Annotation, ...]:
    begin, end = held["box_at"][row : row + 2].tolist()
    some = slice(begin, end)
    categories = held["category"][some].tolist()
    crowd = held["crowd"][some].tolist()
    scores: list[float | None] = [None] * len(crowd)
    if "score" in held:
        given = zip(held["score"][some].tolist(), held["has_score"][some].tolist(), strict=True)
        scores = [score if has else None for score, has in given]
    return tuple(
        Annotation(
            tuple(box),
            None if category == NO_CATEGORY else category,
            _spans(held, place) if "span" in held else (),
            is_crowd,
            score,
            _kinds(held, place) if "kind" in held else (),
        )
        for place, box, category, is_crowd, score in zip(
            range(begin, end),
            held["box"][some].tolist(),
            categories,
            crowd,
            scores,
            strict=True,
        )
    )


def _spans(held: ColumnStore, place: int) -> tuple[tuple[int, int], ...]:
    begin, end = held["span_at"][place : place + 2].tolist()
    return tuple((a, b) for a, b in held["span"][begin:end].tolist())


def _kinds(held: ColumnStore, place: int) -> tuple[str, ...]:
    words = Texts(held["kind_word"], held["kind_word_at"])
    return tuple(words[code] for code in _numbers(held, "kind", place))
