import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glip_pl.prompts import (
    Prompt,
    PromptTemplate,
    clean_name,
    mirror,
    positive_map,
    readable_names,
    split_names,
    surround,
    training_names,
)

#                        [CLS]   person  .       bi       ##cycle   [SEP]
OFFSETS = torch.tensor([(0, 0), (0, 6), (6, 7), (8, 10), (10, 15), (0, 0)])


def test_every_sub_word_of_a_phrase_is_positive():
    mapped = positive_map(OFFSETS, [[(0, 6)], [(8, 15)]])

    assert mapped.int().tolist() == [
        [0, 1, 0, 0, 0, 0],  # person
        [0, 0, 0, 1, 1, 0],  # bi ##cycle
    ]


def test_separators_and_special_tokens_are_never_positive():
    mapped = positive_map(OFFSETS, [[(0, 6)], [(8, 15)]])

    assert not mapped[:, [0, 2, 5]].any()


def test_a_phrase_in_two_parts_covers_the_tokens_of_both():
    mapped = positive_map(OFFSETS, [[(0, 6), (10, 15)]])

    assert mapped.int().tolist() == [[0, 1, 0, 0, 1, 0]]


def test_a_phrase_past_the_last_token_is_refused():
    with pytest.raises(ValueError, match=r"phrase 1 at characters \[\(17, 20\)\].*max_tokens"):
        positive_map(OFFSETS, [[(0, 6)], [(17, 20)]])


def test_names_are_joined_with_dots_and_keep_their_places():
    prompt = PromptTemplate().join(["person", "traffic light"])

    assert prompt.caption == "person. traffic light"
    assert prompt.tokens_positive == (((0, 6),), ((8, 21),))


def test_the_other_template_names_what_to_detect():
    prompt = PromptTemplate("Detect: ", ", ").join(["person", "bicycle"])

    assert prompt.caption == "Detect: person, bicycle"
    assert prompt.phrases == ("person", "bicycle")


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=8))
def test_every_name_is_found_where_it_was_written(names):
    # Names inside names ("car", "cart") and separators inside names must not shift a span.
    assert PromptTemplate().join(names).phrases == tuple(names)


def test_joined_prompts_keep_all_their_phrases():
    joined = PromptTemplate("See ").join_prompts(
        [Prompt("a cat, furry", (((2, 5),),)), Prompt("dog", (((0, 3),),))]
    )

    assert joined.caption == "See a cat, furry. dog"
    assert joined.phrases == ("cat", "dog")


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="prompt is empty"):
        PromptTemplate().join([])


def test_a_blank_name_is_refused():
    with pytest.raises(ValueError, match="name 1 of the prompt is blank"):
        PromptTemplate().join(["cat", "  "])


def test_a_span_outside_its_caption_is_refused():
    with pytest.raises(ValueError, match=r"phrase 0 .*\[\(2, 9\)\].*has 3 characters"):
        Prompt("cat", (((2, 9),),))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [("flip-flop_(sandal)", "flip-flop"), ("traffic_light", "traffic light"), ("a  b", "a b")],
)
def test_category_names_are_made_readable(raw, clean):
    assert clean_name(raw) == clean


def test_a_note_is_kept_where_two_names_would_read_the_same_without():
    raw = ["bow_(weapon)", "bow_(decorative_ribbons)", "flip-flop_(sandal)"]

    assert readable_names(raw) == ["bow (weapon)", "bow (decorative ribbons)", "flip-flop"]


def test_a_note_is_kept_beside_the_same_name_without_a_note():
    assert readable_names(["bow", "bow_(weapon)"]) == ["bow", "bow (weapon)"]


def test_a_readable_name_keeps_its_brackets():
    assert readable_names(["person (standing)"]) == ["person (standing)"]


def test_a_name_that_is_all_note_keeps_it():
    assert readable_names(["_(weapon)"]) == ["(weapon)"]


@given(st.lists(st.text("ab_() ", min_size=1), max_size=6), st.data())
def test_readable_names_stay_as_they_are_in_any_selection(names, data):
    readable = readable_names(names)
    some = data.draw(st.lists(st.sampled_from(readable))) if readable else []

    assert readable_names(some) == some


@given(st.lists(st.text("ab_() ", min_size=1), max_size=6))
def test_names_that_differ_in_more_than_blanks_still_differ_when_readable(names):
    words = [" ".join(name.replace("_", " ").split()) for name in names]

    assert len(set(readable_names(names))) >= len(set(words))


@pytest.mark.parametrize("text", ["cat. hair drier.", "cat, hair drier", " cat .hair drier. "])
def test_a_class_list_is_read_with_dots_or_commas(text):
    assert split_names(text) == ["cat", "hair drier"]


def test_a_class_list_without_names_is_refused():
    with pytest.raises(ValueError, match=r"'\. \.' names nothing"):
        split_names(". .")


def test_mirroring_swaps_left_and_right_and_moves_the_spans():
    prompt = Prompt("Left cat, right of the leftover dog", (((0, 8),), ((10, 35),), ((32, 35),)))

    mirrored = mirror(prompt)

    assert mirrored.caption == "Right cat, left of the leftover dog"
    assert mirrored.phrases == ("Right cat", "left of the leftover dog", "dog")


@given(st.lists(st.sampled_from(["left", "RIGHT", "a", "of", "bright", "Left"]), min_size=1))
def test_mirroring_twice_changes_nothing(words):
    caption = " ".join(words)
    prompt = Prompt(caption, (((0, len(words[0])),), ((0, len(caption)),)))

    assert mirror(mirror(prompt)) == prompt


def test_a_training_prompt_has_all_present_names_and_no_more_negatives_than_allowed():
    generator = torch.Generator().manual_seed(0)
    prompts = [training_names([3, 7], 20, 5, generator) for _ in range(200)]

    assert all({3, 7} <= set(ids) for ids in prompts)
    assert {len(ids) for ids in prompts} == {3, 4, 5, 6, 7}
    assert all(len(set(ids)) == len(ids) for ids in prompts)


def test_an_image_without_boxes_still_gets_a_prompt():
    generator = torch.Generator().manual_seed(0)

    assert all(len(training_names([], 4, 0, generator)) == 1 for _ in range(20))


def test_training_names_come_in_random_order():
    generator = torch.Generator().manual_seed(0)
    firsts = [training_names([0, 1, 2, 3], 4, 0, generator)[0] for _ in range(400)]

    counts = torch.bincount(torch.tensor(firsts), minlength=4)
    assert counts.min() > 60  # 100 each on average; 60 is more than four deviations below.


def test_captions_around_a_prompt_move_its_spans():
    prompt = surround(Prompt("a cat sits", (((0, 5),),)), ["one.", "two"], ["three"])

    assert prompt.caption == "one. two. a cat sits. three. "
    assert prompt.phrases == ("a cat",)


@pytest.mark.parametrize("name", ["\u200b", "\ufeff_", "\u00ad \u2060", "\u200c\u200d", "\u202e"])
def test_a_name_that_cannot_be_seen_is_blank(name):
    assert clean_name(name) == ""


def test_invisible_letters_are_no_part_of_a_name():
    assert clean_name("\ufeffhair\u200b_drier") == "hair drier"
    assert split_names("\ufeffcat. \u200b. do\u00adg") == ["cat", "dog"]


def test_a_lone_surrogate_is_refused_in_words_that_can_be_written():
    with pytest.raises(ValueError, match="is not in UTF-8") as refused:
        split_names("cat\udce9. dog")
    assert str(refused.value).encode()
