"""Large JSON in pieces: what ``json`` reads and refuses, whatever the size of a piece."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glip_pl.data.formats.common import json_walk
from glip_pl.data.formats.common.json_walk import open_document

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder that many examples may write into."""
    return tmp_path_factory.mktemp("json")


def lists_of(tmp_path, content: bytes) -> dict[str, list[object]]:
    """Read the lists of a document as a whole."""
    file = tmp_path / "a.json"
    file.write_bytes(content)
    return {key: list(held) for key, held in open_document(file).lists.items()}


@pytest.mark.parametrize("piece", [8, 64, 1 << 24])
@settings(max_examples=40, deadline=None)
@given(
    document=st.dictionaries(st.text(max_size=5), VALUES, max_size=5),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_every_list_is_what_json_reads(folder, piece, document, indent, ascii_only):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    held = json.loads(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_walk, "PIECE", piece)
        found = lists_of(folder, text.encode("utf-8", "surrogatepass"))

    assert found == {key: value for key, value in held.items() if isinstance(value, list)}


@pytest.mark.parametrize("piece", [8, 1 << 24])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"a": [1, 2}',
        b'{"a": [1, 2,]}',
        b'{"a": [,1]}',
        b'{"a": [{"b": 1} {"b": 2}]}',
        b'{"a": [1]} x',
        b'{"a": [1],}',
        b'{"a" [1]}',
        b'{"a": [1] "b": 2}',
        b"{1: [2]}",
        b'{"a": "b}',
        b'{"a": [{"b": "\xff"}]}',
        b'{"a": tru}',
        b'{"a": [{"b": [1}]}]}',
        b'{"a": [1, 2',
    ],
)
def test_what_is_no_json_is_refused(tmp_path, monkeypatch, content, piece):
    monkeypatch.setattr(json_walk, "PIECE", piece)
    with pytest.raises(ValueError, match=r".") as by_json:
        json.loads(content)

    with pytest.raises(ValueError, match=r"."):
        lists_of(tmp_path, content)
    assert by_json.value is not None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_encoding_of_json_is_read(tmp_path, encoding):
    text = json.dumps({"a": [{"b": "é"}]}, ensure_ascii=False)

    assert lists_of(tmp_path, text.encode(encoding)) == {"a": [{"b": "é"}]}


def test_brackets_and_quotes_inside_of_texts_end_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(json_walk, "PIECE", 16)
    entries = [{"a": '"},{"'}, {"a": "]}\\"}, {"b": {"c": [1, {}]}}]

    assert lists_of(tmp_path, json.dumps({"a": entries}).encode()) == {"a": entries}


@pytest.mark.parametrize("more", [b'"a": [4]', b'"a": 3', b'"b": [2]', b'"c": [{"d": 1, "d": 2}]'])
def test_two_values_of_one_key_are_refused(tmp_path, more):
    with pytest.raises(ValueError, match=r"'[abd]' stands twice in one object"):
        lists_of(tmp_path, b'{"a": [1], "b": 3, ' + more + b"}")


def test_a_fast_decoder_leaves_equal_keys_to_the_slow_one(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": [{"id": 1}, {"id": 2, "id": 3}]}')
    (piece,) = open_document(tmp_path / "a.json").lists["a"].pieces
    decoder = msgspec.json.Decoder(list[dict[str, int]])

    assert piece.decode(decoder) == [{"id": 1}, {"id": 3}]
    assert piece.decode(decoder, once=["id"]) is None


def test_a_file_that_holds_something_else_has_no_lists(tmp_path):
    assert lists_of(tmp_path, b"[1, 2]") == {}


def test_brackets_nested_too_deep_are_refused_in_one_line(tmp_path):
    nested = b'{"a": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}"

    with pytest.raises(ValueError, match=r"cannot read the annotation file .*recursion"):
        lists_of(tmp_path, nested)


def test_a_type_that_is_too_strict_for_a_piece_decodes_nothing_of_it(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": [1, 2, "3"]}')
    (piece,) = open_document(tmp_path / "a.json").lists["a"].pieces

    assert piece.decode(msgspec.json.Decoder(list[int])) is None
    assert piece.values() == [1, 2, "3"]


def test_equal_files_have_equal_digests(tmp_path):
    for name, content in {"a": b'{"a": []}', "b": b'{"a": []}', "c": b'{"a": [] }'}.items():
        (tmp_path / name).write_bytes(content)
    a, b, c = (open_document(tmp_path / name).digest for name in "abc")

    assert a == b != c


@pytest.mark.parametrize("piece", [8, 1 << 24])
def test_a_file_that_is_one_list_is_read_in_pieces(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(json_walk, "PIECE", piece)
    for content in (b'[{"a": 1}, {"b": [2]}, 3]', b"[]"):
        (tmp_path / "a.json").write_bytes(content)

        assert list(json_walk.open_list(tmp_path / "a.json")) == json.loads(content)
    for content in (b'[{"a": 1}', b"[1] 2", b"[1,]"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            list(json_walk.open_list(tmp_path / "a.json"))
