import json
from pathlib import Path

import pytest
import torch
from helpers import FakeTokenizer, write_image
from loaded_sets import LoadedSet, loaded

from glip_pl.data import PhraseGrounding, collate
from glip_pl.data.datasets.samples import SampleContext

CAPTION = "a man and a dog on the left"
MAN, DOG = [[0, 5]], [[10, 15]]
BOX_A, BOX_B = [1, 2, 10, 20], [30, 5, 10, 10]


def load(root: Path, links, caption: str = CAPTION, max_tokens: int = 64) -> LoadedSet:
    """Write and load two images: one with the links under test, one with a sound link."""
    images, annotations = [], []
    for image_id, (text, found) in enumerate(
        [(caption, links), ("a man", [(MAN, BOX_A)])], start=1
    ):
        write_image(root / "images" / f"{image_id}.png", 40, 60)
        images.append(
            {"id": image_id, "file_name": f"{image_id}.png", "height": 40, "width": 60}
            | {"caption": text}
        )
        for spans, bbox in found:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "bbox": bbox}
                | {"tokens_positive": spans}
            )
    document = {"images": images, "annotations": annotations}
    (root / "grounding.json").write_text(json.dumps(document))
    return loaded(PhraseGrounding("grounding.json"), root, max_tokens=max_tokens)


def test_a_caption_keeps_its_words_and_its_phrases(tmp_path):
    sample = load(tmp_path, [(DOG, BOX_B), (MAN, BOX_A)])[0]

    assert sample.prompt.caption == CAPTION
    assert sample.prompt.phrases == ("a man", "a dog")
    assert sample.truth.boxes.tolist() == [[30, 5, 40, 15], [1, 2, 11, 22]]
    assert sample.truth.shows.tolist() == [[False, True], [True, False]]
    assert sample.phrase_ids.tolist() == [-1, -1]


def test_annotations_of_the_same_words_are_one_phrase_with_several_boxes(tmp_path):
    sample = load(tmp_path, [(DOG, BOX_A), (DOG, BOX_B)])[0]

    assert sample.prompt.phrases == ("a dog",)
    assert sample.truth.shows.tolist() == [[True], [True]]


def test_annotations_of_the_same_box_are_one_box_that_shows_several_phrases(tmp_path):
    sample = load(tmp_path, [(MAN, BOX_A), (DOG, BOX_A)])[0]

    assert sample.truth.boxes.tolist() == [[1, 2, 11, 22]]
    assert sample.truth.shows.tolist() == [[True, True]]


def test_a_phrase_in_several_parts_covers_all_their_tokens(tmp_path):
    sample = load(tmp_path, [([[10, 15], [0, 5]], BOX_A)])[0]

    (question,) = collate([sample], FakeTokenizer()).questions

    assert sample.prompt.phrases == ("a man a dog",)
    #                                           [CLS] a man and a dog on the left [SEP]
    assert question.positive_map.int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "spans", [[[20, 99]], [[5, 5]], [[5, 6]], [[-3, 2]], [], [[0, 5], [20, 99]], "words", None]
)
def test_a_span_that_covers_no_word_of_the_caption_is_left_out_and_counted(tmp_path, spans):
    dataset = load(tmp_path, [(spans, BOX_A), (DOG, BOX_B)])

    assert dataset.problems == {"span outside the caption": ["annotation 1 of image 1"]}
    assert dataset[0].prompt.phrases == ("a dog",)


def test_a_caption_without_a_linked_phrase_is_left_out_and_counted(tmp_path):
    dataset = load(tmp_path, [])

    assert [sample.truth.image_id for sample in dataset] == [2]
    assert dataset.problems == {"caption without a linked phrase": ["image 1 (1.png)"]}


def test_a_caption_longer_than_the_text_encoder_reads_is_left_out_and_named(tmp_path, caplog):
    dataset = load(tmp_path, [(DOG, BOX_A)], max_tokens=9)  # The caption has 8 words + 2.

    assert [sample.truth.image_id for sample in dataset] == [2]
    assert dataset.problems == {"caption longer than 9 tokens": ["image 1 with 10"]}
    assert "1 left out: caption longer than 9 tokens (image 1 with 10)" in caplog.text


def test_samples_made_again_warn_no_second_time(tmp_path, caplog):
    dataset = load(tmp_path, [(DOG, BOX_A)], max_tokens=9)
    caplog.clear()

    samples = dataset.samples(SampleContext(FakeTokenizer(9)))

    assert len(samples) == 1
    assert not caplog.records


def test_a_set_whose_captions_are_all_too_long_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"can read nothing.*caption longer than 3 tokens.*max_tokens"
    ):
        load(tmp_path, [(DOG, BOX_A)], max_tokens=3)


def test_a_phrase_set_has_no_class_names(tmp_path):
    assert load(tmp_path, [(DOG, BOX_A)]).names == []


@pytest.fixture
def packed(tmp_path):
    """A training set whose captions are packed with others."""
    load(tmp_path, [(DOG, BOX_B), (MAN, BOX_A)])
    return loaded(PhraseGrounding("grounding.json", max_distractors=20), tmp_path, training=True)


def test_packed_captions_keep_their_phrases_and_add_none(packed):
    torch.manual_seed(0)

    prompts = [packed[0].prompt for _ in range(40)]

    assert {prompt.phrases for prompt in prompts} == {("a man", "a dog")}
    lengths = {len(prompt.caption) for prompt in prompts}
    assert min(lengths) == len(CAPTION)  # Some stay alone.
    assert len(lengths) > 3


def test_packing_uses_the_tokens_up_and_never_more(packed):
    torch.manual_seed(0)
    tokenizer = FakeTokenizer(64)

    counts = [tokenizer([packed[0].prompt]).ids.shape[1] for _ in range(40)]

    # The shortest other caption takes three tokens with its full stop.
    assert max(counts) > 64 - 3
    assert max(counts) <= 64


def test_an_evaluation_packs_nothing(packed, tmp_path):
    evaluated = loaded(PhraseGrounding("grounding.json", max_distractors=20), tmp_path)

    assert all(evaluated[0].prompt.caption == CAPTION for _ in range(20))


def test_boxes_that_a_detector_was_unsure_of_are_left_out(tmp_path):
    load(tmp_path, [(MAN, BOX_A), (DOG, BOX_B)])
    document = json.loads((tmp_path / "grounding.json").read_text())
    for entry, score in zip(document["annotations"], (0.5, 0.6, 0.9), strict=True):
        entry["score"] = score
    (tmp_path / "grounding.json").write_text(json.dumps(document))
    dataset = loaded(PhraseGrounding("grounding.json", min_score=0.5), tmp_path)

    assert dataset[0].prompt.phrases == ("a dog",)
    assert len(dataset) == 2
