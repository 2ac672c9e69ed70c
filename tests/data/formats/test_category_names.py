"""Names of categories that are none are told by check and training alike."""

import json

import pytest
from helpers import write_coco

from glip_pl.data.datasets.category_names import read_categories
from glip_pl.data.formats.common.checks import BLANK_NAME, names_by_id
from glip_pl.data.formats.common.json_lines import first_object, json_lines


def entries(name):
    return [{"id": 1, "name": name}, {"id": 2, "name": "dog"}]


@pytest.mark.parametrize("name", [None, True, [], {}])
def test_what_is_no_text_is_no_name(name, tmp_path):
    with pytest.raises(ValueError, match="is no name"):
        names_by_id(entries(name), {})
    with pytest.raises(ValueError, match="is no name"):
        read_categories(entries(name), {}, tmp_path)


@pytest.mark.parametrize("name", ["", "  ", "_", "\u200b\u200b"])
def test_what_cannot_be_seen_is_no_name(name, tmp_path):
    problems = {}

    names_by_id(entries(name), problems)

    assert list(problems) == [BLANK_NAME]
    with pytest.raises(ValueError, match="name it"):
        read_categories(entries(name), {}, tmp_path)


def test_a_number_is_a_name(tmp_path):
    assert names_by_id(entries(7), {})[1] == "7"
    assert read_categories(entries(7), {}, tmp_path)[1] == ["7", "dog"]


def test_a_name_that_is_all_note_is_read_as_it_stands(tmp_path):
    problems = {}

    names_by_id(entries("(cat)"), problems)

    assert not problems
    assert read_categories(entries("(cat)"), {}, tmp_path)[1] == ["(cat)", "dog"]


def test_an_id_of_two_names_is_told(tmp_path):
    path = write_coco(tmp_path, {"a.png": [(1, (2, 2, 9, 9))]}, names={1: "cat"})
    document = json.loads(path.read_text())
    twice = [*document["categories"], {"id": 1, "name": "lynx"}]
    problems = {}

    assert names_by_id(twice, problems) == {1: "cat"}
    assert "1 of 'cat', 'lynx'" in str(problems)
    with pytest.raises(ValueError, match="uses the category id 1 twice; renumber one"):
        read_categories(twice, {}, path)


def test_lists_in_lists_without_end_are_no_object(tmp_path):
    file, problems = tmp_path / "a.jsonl", {}
    file.write_text("[" * 100_000 + '\n{"a": 1}\n')

    assert first_object(file) == {}
    assert list(json_lines(file, problems)) == [(2, {"a": 1})]
