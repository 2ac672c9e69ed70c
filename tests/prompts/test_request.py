import pytest
from helpers import FakeTokenizer

from glip_pl.prompts import split_names
from glip_pl.prompts.request import compile_request, read_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("red square, green circle.", ["red square", "green circle"]),
        ("a; b", ["a", "b"]),
        ("a\uff0cb\u3001c\u3002", ["a", "b", "c"]),
        ("a\nb\r\n", ["a", "b"]),
        ("cat.dog", ["cat", "dog"]),
        ("1.5 l bottle. 2,5 l can", ["1.5 l bottle", "2,5 l can"]),
        ('"St. Bernard". cat', ["St. Bernard", "cat"]),
        ('cat, "Sorrel, wild"', ["cat", "Sorrel, wild"]),
        ('"St. Bernard"', ["St. Bernard"]),
        ("\u201cSt. Bernard\u201d. cat", ["St. Bernard", "cat"]),
        ('15" monitor. 20" monitor.', ['15" monitor', '20" monitor']),
        ("men's shoes. a $100 bill.", ["men's shoes", "a $100 bill"]),
    ],
)
def test_a_prompt_means_what_was_typed(text, names):
    assert split_names(text) == names


@pytest.mark.parametrize(
    "table",
    ["id,name\n1,cat\n2,dog", "id;name\n1;cat\n2;dog", "name\tid\ncat\t1\ndog\t2", "cat;dog\n"],
)
def test_a_table_may_part_its_columns_by_any_usual_mark(tmp_path, table):
    (tmp_path / "names.csv").write_text(table)

    assert read_names(tmp_path / "names.csv") == ["cat", "dog"]


def test_a_cell_of_two_lines_is_one_name(tmp_path):
    (tmp_path / "names.csv").write_text('name\n"hair\ndrier"\n')

    assert read_names(tmp_path / "names.csv") == ["hair drier"]


@pytest.mark.parametrize(
    ("text", "caption", "told"),
    [
        ("data.yaml", False, "names are not read from"),
        ("classes.json", False, "names are not read from"),
        ("names.txt", True, "leave out --caption"),
    ],
)
def test_other_files_are_refused_and_not_searched_for(text, caption, told):
    with pytest.raises(ValueError, match=told):
        compile_request(text, FakeTokenizer(), caption=caption)


@pytest.mark.parametrize("name", ["clases.txt", "coco.names", "clases.CSV"])
def test_a_missing_file_of_names_is_refused_and_not_searched_for(tmp_path, name):
    with pytest.raises(ValueError, match=rf"no file of names '.*{name}'"):
        compile_request(str(tmp_path / name), FakeTokenizer(), caption=False)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.txt", b"\xef\xbb\xbfred square\r\nSt. Bernard\r\n"),
        ("a.names", b"red square\n\nSt. Bernard\n"),
        ("a.txt", "red square\nSt. Bernard".encode("utf-16")),
        ("a.txt", b'red square. "St. Bernard".'),
        ("a.csv", b"red square\nSt. Bernard\n"),
        ("a.csv", b'id,name\n1,red square\n2,"St. Bernard"\n'),
        ("a.csv", b"red square,St. Bernard"),
    ],
)
def test_a_file_of_names_is_read(tmp_path, file, content):
    (tmp_path / file).write_bytes(content)

    assert read_names(tmp_path / file) == ["red square", "St. Bernard"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("a.txt", "Tür".encode("latin-1"), "save it as UTF-8"),
        ("a.txt", b"", "names nothing"),
        ("a.csv", b"", "names nothing"),
        ("a.csv", b"1,cat\n2,dog\n", "several columns"),
    ],
)
def test_a_file_that_names_nothing_for_certain_is_refused(tmp_path, file, content, reason):
    (tmp_path / file).write_bytes(content)

    with pytest.raises(ValueError, match=reason):
        read_names(tmp_path / file)
