"""Captions with phrases: ODVG, MDETR, Flickr30k Entities; and what every grounding format keeps."""

import contextlib
import json
from dataclasses import replace

import pytest
from helpers import MATERIAL, write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glip_pl.data.formats import detect_format
from glip_pl.data.formats.captions import Captions
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.caption_spans import checked_spans, find_phrase
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.data.formats.flickr import FlickrEntities
from glip_pl.data.formats.mdetr.mdetr import Mdetr
from glip_pl.data.formats.odvg.odvg import Odvg
from glip_pl.data.formats.refcoco.refcoco import RefCoco
from glip_pl.data.formats.webdataset.webdataset import WebDatasetShards

MINI = MATERIAL / "datasets" / "coco_mini"
#          0123456789012345678
CAPTION = "A dog near two cats"
DOG, CATS = ((0, 5),), ((11, 19),)


def write_odvg(root, *lines, label_map=None):
    """Write lines about a.png, 60 pixels wide and 40 high, and give their set."""
    write_image(root / "images" / "a.png", 40, 60)
    (root / "annotations").mkdir(exist_ok=True)
    image = {"filename": "a.png", "height": 40, "width": 60}
    texts = [json.dumps({**image, **line}) for line in lines]
    (root / "annotations" / "train.jsonl").write_text("\n".join(texts))
    if label_map:
        (root / "annotations" / "label_map.json").write_text(json.dumps(label_map))
    return Odvg().read(root)["train"]


def odvg_region(**region):
    return {"grounding": {"caption": CAPTION, "regions": [region]}}


def write_mdetr(root, annotations, **image):
    """Write one caption of a.png, 60 x 40 pixels, with its annotations, and give its set."""
    write_image(root / "images" / "a.png", 40, 60)
    entry = {"id": 7, "file_name": "a.png", "height": 40, "width": 60, "caption": CAPTION, **image}
    links = [{"id": i, "image_id": 7, "category_id": 1, **a} for i, a in enumerate(annotations)]
    document = {"images": [entry], "annotations": links, "categories": []}
    (root / "final_mixed_train.json").write_text(json.dumps(document))
    return Mdetr().read(root)["train"]


# Spans


def test_spans_are_sorted_and_once():
    assert checked_spans([[11, 19], [0, 5], [0, 5]], CAPTION) == ((0, 5), (11, 19))


@pytest.mark.parametrize("spans", [[], None, [[15, 20]], [[5, 5]], [[5, 6]], [["a", 3]], [[-1, 3]]])
def test_spans_outside_the_caption_or_without_a_word_are_refused(spans):
    assert checked_spans(spans, CAPTION) is None


def test_a_phrase_is_found_as_whole_words_only():
    assert find_phrase("cat", "Scatter a cat, a bobcat and cat's") == [(10, 13), (28, 31)]


def test_a_phrase_is_found_whatever_its_case_even_where_that_moves_letters():
    assert find_phrase("A DOG", CAPTION) == [(0, 5)]
    assert find_phrase("dog", "İ dog") == [(2, 5)]  # "İ".lower() has two characters.


# ODVG


def test_odvg_detection_reads_boxes_with_the_names_of_the_label_map(tmp_path):
    instance = {"bbox": [1, 2, 30, 20.5], "label": 1, "category": "cat"}

    found = write_odvg(
        tmp_path, {"detection": {"instances": [instance]}}, label_map={"0": "dog", "1": "cat"}
    )

    assert found.names == {0: "dog", 1: "cat"}
    assert found.records == [Record(1, "a.png", (40, 60), (Annotation((1.0, 2.0, 30.0, 20.5), 1),))]
    assert found.images == tmp_path / "images"


def test_odvg_without_a_label_map_takes_the_names_of_the_instances(tmp_path):
    instance = {"bbox": [1, 2, 30, 20], "label": 3, "category": "cat"}

    assert write_odvg(tmp_path, {"detection": {"instances": [instance]}}).names == {3: "cat"}


def test_odvg_instance_without_a_name_is_counted(tmp_path):
    found = write_odvg(tmp_path, {"detection": {"instances": [{"bbox": [1, 2, 3, 4], "label": 3}]}})

    assert found.problems == {checks.UNKNOWN_CATEGORY: ["instance 0 of line 1"]}


def test_odvg_instance_of_another_name_than_its_label_is_left_out(tmp_path):
    instance = {"bbox": [1, 2, 30, 20], "label": 1, "category": "Hair drier"}
    other = {**instance, "category": "dog"}

    found = write_odvg(
        tmp_path, {"detection": {"instances": [instance, other]}}, label_map={"1": "hair_drier"}
    )

    assert len(found.records[0].annotations) == 1
    assert found.problems == {checks.OTHER_NAME: ["instance 1 of line 1: 'dog', 'hair_drier'"]}


def test_a_label_map_whose_name_is_null_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no label map \(None is no name\)"):
        write_odvg(tmp_path, {"detection": {"instances": []}}, label_map={"1": None})


def test_odvg_region_of_two_boxes_is_two_annotations_of_one_phrase(tmp_path):
    region = {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "phrase": "x", "tokens_positive": [[11, 19]]}

    record = write_odvg(tmp_path, odvg_region(**region)).records[0]

    assert record.caption == CAPTION
    assert record.annotations == (
        Annotation((1.0, 2.0, 3.0, 4.0), tokens_positive=CATS),
        Annotation((5.0, 6.0, 7.0, 8.0), tokens_positive=CATS),
    )


def test_odvg_region_without_spans_has_its_phrase_looked_for(tmp_path):
    found = write_odvg(tmp_path, odvg_region(bbox=[1, 2, 3, 4], phrase="two cats"))

    assert found.records[0].annotations[0].tokens_positive == CATS


@pytest.mark.parametrize(
    ("caption", "kind"),
    [
        ("two birds", "phrase that is not in its caption"),
        ("a cat by a cat", "phrase that is more than once in its caption, without tokens_positive"),
    ],
)
def test_odvg_phrase_that_is_not_there_once_is_counted_and_not_guessed(tmp_path, caption, kind):
    region = {"bbox": [1, 2, 3, 4], "phrase": "cat"}

    found = write_odvg(tmp_path, {"grounding": {"caption": caption, "regions": [region]}})

    assert found.records == []
    assert found.problems[kind] == ["region 0 of line 1"]


def test_odvg_line_that_is_no_json_is_counted(tmp_path):
    write_odvg(tmp_path, {"grounding": {"caption": CAPTION, "regions": []}})
    file = tmp_path / "annotations" / "train.jsonl"
    file.write_text(file.read_text() + '\n{"filename": "b\n')

    found = Odvg().read(file)["all"]

    assert len(found.records) == 1
    assert found.problems == {"line that is no JSON object": ["line 2"]}


def test_odvg_file_that_could_have_two_label_maps_is_refused(tmp_path):
    for name in ("coco_label_map.json", "lvis_label_map.json", "label_map.json"):
        (tmp_path / name).write_text('{"0": "dog"}')
    (tmp_path / "coco_train.jsonl").write_text('{"filename": "a.png", "detection": {}}')
    assert Odvg().read(tmp_path / "coco_train.jsonl")["all"].names == {0: "dog"}

    (tmp_path / "coco_label_map.json").rename(tmp_path / "coco_train_label_map.json")
    (tmp_path / "label_map.json").rename(tmp_path / "co_label_map.json")
    with pytest.raises(ValueError, match=r"coco_train_label_map.json.*leave one"):
        Odvg().read(tmp_path / "coco_train.jsonl")["all"]


# MDETR


def test_mdetr_links_a_box_with_the_spans_of_its_phrase(tmp_path):
    link = {"bbox": [1, 2, 10, 20], "tokens_positive": [[11, 19]], "iscrowd": 1, "score": 0.5}

    record = write_mdetr(tmp_path, [link]).records[0]

    assert record == Record(
        *(7, "a.png", (40, 60)),
        annotations=(Annotation((1.0, 2.0, 11.0, 22.0), None, CATS, True, 0.5),),
        caption=CAPTION,
    )


def test_mdetr_finds_the_images_of_a_source_in_its_folder(tmp_path):
    write_image(tmp_path / "images" / "vg" / "b.png", 40, 60)

    found = write_mdetr(tmp_path, [], file_name="b.png", data_source="vg")

    assert [record.file_name for record in found.records] == ["vg/b.png"]


def test_mdetr_link_outside_its_caption_is_counted_and_the_caption_left_out(tmp_path):
    found = write_mdetr(tmp_path, [{"bbox": [1, 2, 10, 20], "tokens_positive": [[15, 20]]}])

    assert found.records == []
    assert found.problems == {
        "span outside the caption": ["annotation 0 of image 7"],
        "caption whose boxes are all left out": ["7 of a.png"],
    }


@pytest.mark.parametrize("caption", [None, " ", 5])
def test_mdetr_image_without_a_caption_is_counted(tmp_path, caption):
    found = write_mdetr(tmp_path, [], caption=caption)

    assert found.problems == {"image without a caption": ["7 of a.png"]}


def test_mdetr_caption_without_boxes_stays(tmp_path):
    empty = {"bbox": [0, 0, 0, 0], "tokens_positive": [[0, 19]], "empty": 1}

    assert [r.annotations for r in write_mdetr(tmp_path, []).records] == [()]
    assert [r.annotations for r in write_mdetr(tmp_path, [empty]).records] == [()]


def test_mdetr_tells_of_phrases_to_evaluate_that_no_box_shows(tmp_path):
    link = {"bbox": [1, 2, 10, 20], "tokens_positive": [[11, 19]]}

    found = write_mdetr(tmp_path, [link], tokens_positive_eval=[[[0, 5]], [[11, 19]]])

    assert found.unread == {"phrase of tokens_positive_eval without a box": 1}


def test_detection_whose_images_have_captions_is_no_grounding(tmp_path):
    image = {"id": 1, "file_name": "a.png", "height": 40, "width": 60, "caption": CAPTION}
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20]}]
    lists = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "train.json").write_text(json.dumps(lists))

    assert detect_format(tmp_path).name == "coco"


def test_mdetr_does_not_take_detection_or_captions_of_coco(tmp_path):
    image = {"id": 1, "file_name": "a.png", "height": 40, "width": 60}
    annotations = [{"id": 1, "image_id": 1, "caption": CAPTION}]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": [image], "annotations": annotations}))

    assert not Mdetr().detect(path)
    with pytest.raises(ValueError, match=r"captions.json' is not in the form 'mdetr'"):
        Mdetr().read(path)


def test_mdetr_refuses_to_write_a_box_that_shows_no_phrase(tmp_path):
    record = Record(1, "a.png", (40, 60), (Annotation((1.0, 2.0, 3.0, 4.0), 1),), CAPTION)

    with pytest.raises(ValueError, match=r"a.png.*shows no phrase.*write odvg or coco"):
        Mdetr().write({"train": AnnotationSet(tmp_path, [record], {1: "dog"})}, tmp_path / "out")


# Flickr30k Entities

SENTENCES = (
    "[/EN#1/people/other Two men] in [/EN#2/clothing hats] , [/EN#0/notvisual which] wait .\n"
    "[/EN#3/scene A street] with [/EN#1/people them] [/EN#4/other signs]\n"
)
OBJECTS = """<annotation><size><width>60</width><height>40</height></size>
<object><name>1</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>30</ymax></bndbox>
</object><object><name>1</name><name>2</name><bndbox><xmin>20</xmin><ymin>0</ymin><xmax>60</xmax>
<ymax>40</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>
<object><name>4</name><scene>0</scene><nobndbox>1</nobndbox></object></annotation>"""


@pytest.fixture
def flickr_root(tmp_path):
    """Write two sentences of one picture, which is in the list of the test split."""
    write_image(tmp_path / "flickr30k-images" / "5.jpg", 40, 60)
    for folder, name, text in (
        ("Sentences", "5.txt", SENTENCES),
        ("Annotations", "5.xml", OBJECTS),
        (".", "test.txt", "5\n"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_flickr_sentence_is_a_caption_with_the_boxes_of_its_entities(flickr_root):
    first, _ = FlickrEntities().read(flickr_root)["test"].records

    assert first.caption == "Two men in hats , which wait ."
    left, right = (1.0, 2.0, 11.0, 30.0), (20.0, 0.0, 60.0, 40.0)
    men, hats = ((0, 7),), ((11, 15),)
    assert first.annotations == (
        Annotation(left, tokens_positive=men, phrase_types=("people", "other")),
        Annotation(right, tokens_positive=men, phrase_types=("people", "other")),
        Annotation(right, tokens_positive=hats, phrase_types=("clothing",)),
    )
    assert (first.file_name, first.size) == ("5.jpg", (40, 60))


def test_flickr_phrases_without_a_box_are_told_by_kind(flickr_root):
    found = FlickrEntities().read(flickr_root)["test"]

    assert found.problems == {}
    assert found.unread == {
        "phrase of nothing that can be seen": 1,
        "phrase of the whole scene": 1,
        "phrase without a box": 1,
    }
    second = found.records[1]
    assert {link.tokens_positive for link in second.annotations} == {((14, 18),)}


def test_flickr_picture_without_annotations_is_counted(flickr_root):
    (flickr_root / "test.txt").write_text("5\n6\n")

    found = FlickrEntities().read(flickr_root)["test"]

    assert len(found.records) == 2
    assert [name.split()[0] for name in found.problems.popitem()[1]] == ["6"]


def test_flickr_bracket_that_is_not_closed_is_counted_and_its_words_stay(flickr_root):
    (flickr_root / "Sentences" / "5.txt").write_text("A [/EN#1/people man waits .\n")

    found = FlickrEntities().read(flickr_root)["test"]

    assert found.records[0].caption == "A man waits ."
    assert found.problems == {"phrase whose bracket is not closed": ["sentence 0 of 5"]}


def test_flickr_is_read_only(flickr_root, tmp_path):
    with pytest.raises(ValueError, match="flickr30k is read only; write mdetr or odvg"):
        FlickrEntities().write(FlickrEntities().read(flickr_root), tmp_path / "out")


# Every grounding format

# Quarter pixels, so that widths have no rounding error.
PLACES = st.integers(0, 4 * 20).map(lambda quarters: quarters / 4)
BOXES = st.tuples(PLACES, PLACES, PLACES, PLACES).map(
    lambda v: (v[0], v[1], v[0] + v[2] + 0.25, v[1] + v[3] + 0.25)
)
PHRASES = st.sets(st.sampled_from([*DOG, *CATS, (2, 5), (6, 10)]), min_size=1).map(
    lambda spans: tuple(sorted(spans))
)
LINKS = st.builds(Annotation, BOXES, st.none(), PHRASES)
LINK_LISTS = st.lists(st.lists(LINKS, max_size=4).map(tuple), min_size=1, max_size=4)


@pytest.mark.parametrize("form", [Mdetr(), Odvg(), WebDatasetShards(max_bytes=4096)])
@given(links=LINK_LISTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again(form, links, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    write_image(root / "images" / "a.png", 41, 60)
    records = [
        Record(i, "a.png", (41, 60), annotations, f"{CAPTION} {i}")
        for i, annotations in enumerate(links, start=1)
    ]

    form.write({"val": AnnotationSet(root / "images", records)}, root / "out")
    found = form.read(root / "out")["val"]

    assert [replace(record, file_name="a.png") for record in found.records] == records
    assert found.problems == {}


@pytest.mark.parametrize("form", [Mdetr(), Odvg(), RefCoco(), Captions(), WebDatasetShards()])
def test_a_form_detects_what_it_wrote_and_no_other_does(form, tmp_path):
    write_image(tmp_path / "images" / "a.png", 40, 60)
    link = Annotation((1.0, 2.0, 3.0, 4.0), tokens_positive=((0, 19),))
    links = () if form.name == "captions" else (link,)
    sets = {
        "train": AnnotationSet(tmp_path / "images", [Record(1, "a.png", (40, 60), links, CAPTION)])
    }

    form.write(sets, tmp_path / "out")

    assert detect_format(tmp_path / "out").name == form.name


JUNK = (None, -1, 2.5, "x", [1], {"a": 1}, float("inf"))


def variants(document):
    """Give a document with each of its places, in turn, taken by each kind of junk."""

    def places(value):
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                yield value, key
                yield from places(value[key])

    for holder, key in list(places(document)):
        right = holder[key]
        for junk in JUNK:
            holder[key] = junk
            yield json.dumps(document)
        holder[key] = right


@pytest.mark.parametrize(
    ("form", "name"),
    [pytest.param(Mdetr(), "a.json", marks=pytest.mark.slow), (Odvg(), "a.jsonl")],
)
def test_no_wrong_value_ends_the_reading_with_another_error_than_ours(form, name, tmp_path):
    write_image(tmp_path / "images" / "a.png", 40, 60)
    link = Annotation((1.0, 2.0, 3.0, 4.0), None, DOG)
    records = [Record(4, "a.png", (40, 60), (link,), CAPTION)]
    form.write({"a": AnnotationSet(tmp_path / "images", records)}, tmp_path / "out")
    right = json.loads((tmp_path / "out" / "annotations" / name).read_text())

    read = 0
    for text in variants(right):
        (tmp_path / name).write_text(text)
        with contextlib.suppress(ValueError):
            read += len(form.read(tmp_path / name)["all"].records)

    assert read > 0


@pytest.mark.skipif(not MINI.is_dir(), reason=f"needs the data set {MINI}")
@pytest.mark.parametrize("form", [Mdetr(), Odvg(), WebDatasetShards()])
def test_real_captions_keep_their_boxes_and_spans(form, tmp_path):
    sets = Mdetr().read(MINI)
    assert {split: len(s.records) for split, s in sets.items()} == {"train": 412, "val": 311}

    form.write(sets, tmp_path / "out")

    for split, found in form.read(tmp_path / "out").items():
        # Shards move the captions of an image together.
        in_order = sorted(found.records, key=lambda record: record.image_id)
        for record, again in zip(sets[split].records, in_order, strict=True):
            assert again.caption == record.caption
            for link, other in zip(record.annotations, again.annotations, strict=True):
                assert other.tokens_positive == link.tokens_positive
                assert other.box == pytest.approx(link.box, abs=1e-6)


@pytest.mark.skipif(not MINI.is_dir(), reason=f"needs the data set {MINI}")
def test_real_phrases_as_captions_of_their_own_keep_their_boxes_in_refcoco(tmp_path):
    held = Mdetr().read(MINI)["val"]
    records = []
    for record in held.records:
        for link in record.annotations:
            phrase = " ".join(record.caption[a:b] for a, b in link.tokens_positive)
            whole = replace(link, tokens_positive=((0, len(phrase)),))
            number = len(records) + 1
            records.append(Record(number, record.file_name, record.size, (whole,), phrase))

    RefCoco().write({"val": replace(held, records=records)}, tmp_path / "out")
    found = RefCoco().read(tmp_path / "out")["val"].records

    assert [(r.image_id, r.caption) for r in found] == [(r.image_id, r.caption) for r in records]
    for record, again in zip(records, found, strict=True):
        assert again.annotations[0].tokens_positive == record.annotations[0].tokens_positive
        assert again.annotations[0].box == pytest.approx(record.annotations[0].box, abs=1e-6)
