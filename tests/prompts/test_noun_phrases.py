import json

import pytest
from helpers import MATERIAL
from hypothesis import given
from hypothesis import strategies as st

from glip_pl.prompts.noun_phrases import noun_phrases


def phrases(caption: str) -> list[str]:
    return [" ".join(caption[a:b] for a, b in spans) for spans in noun_phrases(caption)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man on a red bike", ["A man", "a red bike"]),
        ("Two dogs run past the old barn.", ["Two dogs", "the old barn"]),
        ("A bird perched on a branch eating an apple.", ["A bird", "a branch", "an apple"]),
        ("A TRAFFIC LIGHT NEAR A BUS STOP", ["A TRAFFIC LIGHT", "A BUS STOP"]),
        ("sink, mirror and toilet", ["sink", "mirror", "toilet"]),
        ("some brown cabinets a black oven", ["some brown cabinets", "a black oven"]),
    ],
)
def test_a_caption_is_cut_into_what_it_names(caption, expected):
    assert phrases(caption) == expected


def test_adjectives_joined_by_and_or_comma_describe_one_thing():
    assert phrases("a black and white cat by a large, red bus") == [
        "a black and white cat",
        "a large, red bus",
    ]


def test_a_group_of_people_is_one_phrase_and_a_piece_of_fruit_two():
    assert phrases("A group of people with a piece of fruit") == [
        "A group of people",
        "a piece",
        "fruit",
    ]


def test_places_and_pronouns_are_no_things():
    assert phrases("It sits in front of her in the background, next to me") == []


def test_a_place_behind_a_noun_is_left_out():
    assert phrases("a boat right by the dock") == ["a boat", "the dock"]


def test_a_participle_before_a_noun_describes_it_and_behind_a_noun_ends_it():
    assert phrases("a parked car filled with stuffed bears") == ["a parked car", "stuffed bears"]


def test_a_word_in_ing_may_be_a_noun_an_adjective_or_a_verb():
    assert phrases("people waiting at a dining table by a moving train") == [
        "people",
        "a dining table",
        "a moving train",
    ]


def test_a_word_that_ends_in_s_is_a_verb_behind_its_subject_only():
    assert phrases("A man rides two rides and looks at skis") == ["A man", "two rides", "skis"]


def test_an_infinitive_is_no_thing():
    assert phrases("men trying to catch a ball") == ["men", "a ball"]


def test_a_very_described_thing_is_one_phrase():
    assert phrases("a very brightly colored kite") == ["a very brightly colored kite"]


@pytest.mark.parametrize("caption", ["", " . ", "the", "and of", "is sitting"])
def test_a_caption_without_things_has_no_phrase(caption):
    assert noun_phrases(caption) == ()


@given(st.text())
def test_spans_of_any_text_are_in_order_inside_it_and_apart(caption):
    bounds = [place for ((a, b),) in noun_phrases(caption) for place in (a, b)]

    assert bounds == sorted(bounds)
    assert all(caption[a:b].strip() for ((a, b),) in noun_phrases(caption))
    assert all(0 <= place <= len(caption) for place in bounds)


def test_the_things_of_real_captions_are_found():
    file = MATERIAL / "datasets" / "coco_mini" / "annotations" / "grounding_val.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    document = json.loads(file.read_text())
    captions = {image["id"]: image["caption"] for image in document["images"]}
    ends = {
        (a["image_id"], max(b for _, b in a["tokens_positive"])) for a in document["annotations"]
    }

    found = {(i, b) for i, caption in captions.items() for ((_, b),) in noun_phrases(caption)}

    # Measured: 0.958. The rest are nouns inside a longer one, "a clock" of "a clock tower".
    assert len(ends & found) / len(ends) > 0.94
