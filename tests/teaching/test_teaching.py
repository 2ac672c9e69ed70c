"""Captions to lessons: what is asked, what is kept, withheld and dropped."""

import numpy as np
import pytest
import torch
from PIL import Image

from glip_pl.inference.postprocess import PostProcess
from glip_pl.inference.result import Result
from glip_pl.prompts import Prompt
from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.teaching import Rule, asked_of, lesson_of
from glip_pl.teaching.captions import FOREIGN, NO_PHRASE, TOO_LONG
from glip_pl.teaching.duplicates import Fingerprint, Seen
from glip_pl.teaching.ensemble import joined, with_list
from glip_pl.teaching.lessons import Found, Region
from glip_pl.teaching.quality import is_named, precision_by_score, right_boxes
from glip_pl.text import TinyBert

HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
DOG_AND_SOFA = Prompt("a dog on a red sofa", (((0, 5),), ((9, 19),)))


def found(*rows):
    boxes, scores, phrases = zip(*rows, strict=True)
    return Found(torch.tensor(boxes), torch.tensor(scores), torch.tensor(phrases))


def test_the_phrases_of_a_sentence_are_asked():
    prompt, reason = asked_of("A dog on a red sofa.")

    assert (prompt.phrases, reason) == (("A dog", "a red sofa"), None)


@pytest.mark.parametrize("caption", ["a cat without a dog", "a cat and no dog", "a cat, not a dog"])
def test_what_a_sentence_denies_is_not_asked(caption):
    assert asked_of(caption)[0].phrases == ("a cat",)


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("It is very nice there", NO_PHRASE),
        ("Ein Hund und eine Katze auf der Wiese", FOREIGN),
        ("собака на диване", FOREIGN),
        ("a dog " * 5000, TOO_LONG),
        ("", NO_PHRASE),
    ],
)
def test_a_caption_that_teaches_nothing_says_why(caption, reason):
    assert asked_of(caption) == (None, reason)


def test_sure_boxes_are_kept_with_their_words():
    lesson, _ = lesson_of(DOG_AND_SOFA, found((HERE, 0.9, 0), (THERE, 0.8, 1)), Rule())

    assert [region.phrase for region in lesson.regions] == ["a dog", "a red sofa"]
    assert lesson.caption == DOG_AND_SOFA.caption


def test_a_phrase_of_unsure_boxes_alone_is_withheld_with_its_words():
    lesson, unsure = lesson_of(DOG_AND_SOFA, found((THERE, 0.8, 1), (HERE, 0.4, 0)), Rule())

    assert (lesson.caption, lesson.withheld) == (" on a red sofa", ("a dog",))
    (region,) = lesson.regions
    assert [lesson.caption[a:b] for a, b in region.spans] == [region.phrase] == ["a red sofa"]
    assert unsure == (Region(HERE, "a dog", 0.4),)


def test_an_unsure_box_beside_a_sure_one_is_written_as_a_crowd():
    lesson, _ = lesson_of(DOG_AND_SOFA, found((THERE, 0.8, 0), (HERE, 0.4, 0)), Rule())

    regions = lesson.line("1.jpg", (60, 80), {})["grounding"]["regions"]
    assert [(r["score"], r.get("iscrowd")) for r in regions] == [(0.8, None), (0.4, 1)]
    assert lesson.withheld == ()


def test_a_duplicate_of_a_sure_box_is_not_unsure():
    lesson, _ = lesson_of(DOG_AND_SOFA, found((HERE, 0.9, 0), (HERE, 0.4, 0)), Rule())

    assert (len(lesson.regions), lesson.withheld) == (1, ())


def test_an_image_without_a_sure_box_teaches_nothing():
    lesson, unsure = lesson_of(DOG_AND_SOFA, found((HERE, 0.4, 0)), Rule())

    assert (lesson, [region.phrase for region in unsure]) == (None, ["a dog"])


def test_boxes_of_an_image_are_bounded():
    many = found(*(((20.0 * k, 0.0, 20.0 * k + 10, 10.0), 0.9, 0) for k in range(9)))

    assert len(lesson_of(DOG_AND_SOFA, many, Rule(most_boxes=3))[0].regions) == 3


def test_a_line_says_who_taught_it():
    lesson, _ = lesson_of(DOG_AND_SOFA, found((HERE, 0.9, 0)), Rule())

    line = lesson.line("1.jpg", (60, 80), {"weights": "abc", "keep": 0.5, "ignore": 0.3})

    assert line["teacher"] == {"weights": "abc", "keep": 0.5, "ignore": 0.3, "withheld": []}
    assert line["grounding"]["regions"][0]["score"] == 0.9


def test_thresholds_that_fall_are_refused():
    with pytest.raises(ValueError, match=r"--ignore=0\.6 and --keep=0\.5"):
        Rule(ignore=0.6)


def blocks(seed):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (8, 9, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def test_equal_and_nearly_equal_images_come_once(tmp_path):
    for name, seed in (("a.png", 0), ("b.png", 0), ("c.jpg", 0), ("d.png", 1)):
        Image.fromarray(blocks(seed)).save(tmp_path / name)
    seen = Seen()

    new = [seen.is_new(name, Fingerprint.of(tmp_path / name)) for name in ("a.png", "b.png")]
    new += [seen.is_new(name, Fingerprint.of(tmp_path / name)) for name in ("c.jpg", "d.png")]

    assert new == [True, False, False, True]


def test_an_image_may_come_again_with_another_caption():
    seen = Seen()

    assert all(seen.is_new("a.png", Fingerprint("abc", 7)) for _ in range(2))


@pytest.mark.parametrize(
    ("phrase", "name", "same"),
    [
        ("two white pawns", "pawn", True),
        ("A red blood cell", "red blood cells", True),
        ("glass", "glas", False),
        ("a pawnshop", "pawn", False),
        ("the cell", "red blood cell", False),
    ],
)
def test_a_phrase_is_about_the_thing_that_it_ends_with(phrase, name, same):
    assert is_named(phrase, name) is same


def test_precision_is_counted_by_score():
    judged = [([0.95, 0.91, 0.35], [True, False, True]), ([0.33], [False])]

    assert precision_by_score(judged) == [(0.3, 0.5, 2), (0.9, 0.5, 2)]


def test_a_box_is_right_where_a_true_one_has_the_same_words():
    boxes = torch.tensor([HERE, HERE, THERE])

    right = right_boxes(boxes, ["A dog", "a cat", "a dog"], torch.tensor([HERE]), ["a dog"])

    assert right == [True, False, False]


def test_asked_twice_a_box_that_only_one_prompt_finds_counts_half():
    boxes = torch.tensor([HERE, HERE, THERE])
    # The first phrase by sentence and list (0 and 2), the second (1) by the sentence alone.
    scores, labels = torch.tensor([0.9, 0.7, 0.6]), torch.tensor([0, 2, 1])
    names = DOG_AND_SOFA.phrases * 2
    result = Result(boxes, scores, labels, names[:3], names, (100, 100), None, lambda: None)

    both = joined(result, DOG_AND_SOFA, PostProcess())

    assert both.scores.tolist() == pytest.approx([0.8, 0.3])
    assert both.phrases.tolist() == [0, 1]
    assert both.boxes.tolist() == [list(HERE), list(THERE)]


def test_the_list_of_a_sentence_asks_for_its_phrases_once_more():
    tokenizer = TinyBert().tokenizer
    sentence = compile_caption("a red circle and a blue square", tokenizer)

    both = with_list(sentence, tokenizer)

    assert [chunk.phrase_ids for chunk in both.chunks] == [(0, 1), (2, 3)]
    assert both.chunks[1].prompt.phrases == sentence.names
    assert both.names == sentence.names * 2
