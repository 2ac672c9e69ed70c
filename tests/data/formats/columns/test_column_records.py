"""Records in columns: what went in comes out, from memory, from files and in other processes."""

import pickle
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glip_pl.data.formats import Annotation, Record
from glip_pl.data.formats.columns.builder import ColumnsBuilder, by_file, columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.columns.rows import NO_CATEGORY
from glip_pl.data.formats.columns.store import open_store

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
IDS = st.integers(-(2**63) + 1, 2**63 - 1)
WORDS = st.text(max_size=6)
BOXES = st.builds(
    Annotation,
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.none() | IDS,
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2).map(tuple),
    st.booleans(),
    st.none() | NUMBERS,
    st.lists(WORDS, max_size=2).map(tuple),
)
RECORDS = st.builds(
    Record,
    IDS,
    WORDS,
    st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)),
    st.lists(BOXES, max_size=3).map(tuple),
    st.none() | WORDS,
    st.none() | st.lists(IDS, max_size=2).map(tuple),
    st.lists(IDS, max_size=2).map(tuple),
    st.integers(0, 9),
)
CAT = Record(1, "a.jpg", (4, 6), (Annotation((0.0, 1.0, 2.0, 3.0), 7),))
NOTHING = Record(2, "é.jpg", (8, 6))
DOGS = Record(
    3, "b.jpg", (5, 5), (Annotation((1.0, 1.0, 2.0, 2.0), 9), Annotation((0.0, 0.0, 1.0, 4.0)))
)


def in_files(folder) -> ColumnRecords:
    """Keep the three records in a folder."""
    builder = ColumnsBuilder(folder)
    builder.add([CAT, NOTHING, DOGS])
    return builder.finish()


@settings(max_examples=25, deadline=None)
@given(st.lists(RECORDS, max_size=4))
def test_records_come_back_as_they_went_in(records):
    held = columns_of(records)

    assert list(held) == records
    assert [held[i] for i in range(len(held))] == records


def test_records_in_files_are_those_in_memory(tmp_path):
    assert in_files(tmp_path) == [CAT, NOTHING, DOGS]
    assert ColumnRecords(open_store(tmp_path)) == [CAT, NOTHING, DOGS]


def test_a_pickle_of_files_holds_no_more_than_their_folder(tmp_path):
    pickled = pickle.dumps(in_files(tmp_path))

    assert len(pickled) < 500
    assert pickle.loads(pickled) == [CAT, NOTHING, DOGS]


def test_a_pickle_of_memory_holds_the_records():
    assert pickle.loads(pickle.dumps(columns_of([CAT, DOGS]))) == [CAT, DOGS]


def test_boxes_may_come_in_any_order(tmp_path):
    for folder in (None, tmp_path):
        builder = ColumnsBuilder(folder)
        builder.add_images([1, 2], [(5, 5), (5, 5)], ["a", "b"])
        builder.add_annotations([1, 0], [Annotation((0.0, 0.0, 1.0, 1.0), 3), CAT.annotations[0]])
        builder.add_annotations(
            [1, 0], [Annotation((0.0, 0.0, 2.0, 2.0), 4, ((0, 2), (3, 4)), score=0.5)] * 2
        )
        first, second = builder.finish()

        assert [a.category for a in first.annotations] == [7, 4]
        assert [a.category for a in second.annotations] == [3, 4]
        assert [a.tokens_positive for a in second.annotations] == [(), ((0, 2), (3, 4))]
        assert [a.score for a in first.annotations] == [None, 0.5]


@pytest.mark.parametrize("damage", ["cut", "remove", "scribble"])
def test_files_that_are_not_whole_are_refused(tmp_path, damage):
    in_files(tmp_path)
    file = tmp_path / "box.npy"
    content = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(content[:-8] if damage == "cut" else b"x" * len(content))

    with pytest.raises(ValueError, match="cannot read the columns in"):
        open_store(tmp_path)


def test_some_records_are_taken_by_places_masks_and_slices():
    held = columns_of([CAT, NOTHING, DOGS])

    assert held.take(np.array([2, 0])) == [DOGS, CAT]
    assert held.take(np.array([False, True, True])) == [NOTHING, DOGS]
    assert held[1:] == [NOTHING, DOGS]
    assert held[::-1][0] == DOGS
    assert held[-1] == DOGS


def test_what_all_images_have_is_known_without_making_records():
    held = columns_of([CAT, NOTHING, DOGS]).take(np.array([2, 1]))

    assert held.image_ids.tolist() == [3, 2]
    assert held.sizes.tolist() == [[5, 5], [8, 6]]
    assert held.box_counts.tolist() == [2, 0]
    assert held.category_ids(0).tolist() == [9, NO_CATEGORY]
    assert list(held.file_names()) == ["b.jpg", "é.jpg"]


def test_other_file_names_go_with_the_records_that_are_taken():
    held = columns_of([CAT, NOTHING, DOGS]).with_names(["x", "y", "z"]).take(np.array([2, 1]))

    assert [record.file_name for record in held] == ["z", "y"]
    assert held[0].annotations == DOGS.annotations


@pytest.mark.parametrize("size", [1, 2, 100])
def test_boxes_are_walked_over_in_parts_that_part_no_record(size):
    held = columns_of([CAT, NOTHING, DOGS])
    parts = [part.tolist() for (part,) in held.box_parts("category", size=size)]

    assert list(chain.from_iterable(parts)) == [7, 9, NO_CATEGORY]
    assert [9, NO_CATEGORY] in parts or len(parts) == 1


def test_an_index_past_the_end_is_refused():
    with pytest.raises(IndexError):
        columns_of([CAT])[1]


def test_the_records_of_a_file_come_together_in_the_order_of_their_files():
    records = columns_of(Record(i, name, (1, 1)) for i, name in enumerate("aba"))

    assert [[r.image_id for r in held] for held in by_file(records)] == [[0, 2], [1]]


def test_categories_are_numbered_anew():
    boxes = [Annotation((0.0, 0.0, 1.0, 1.0), category) for category in (7, 3, 7)]
    records = columns_of([Record(1, "a", (1, 1), tuple(boxes))]).with_categories({3: 1, 7: 2})

    assert [a.category for a in records[0].annotations] == [2, 1, 2]
    assert records.shows_only([1, 2]).all()
