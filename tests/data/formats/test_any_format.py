import json
from pathlib import Path

import pytest
import torch
from helpers import FakeTokenizer, write_image
from loaded_sets import loaded

from glip_pl.data import (
    CategoryDetection,
    GroundingDataModule,
    GroundingDataset,
    LvisDetection,
    PhraseGrounding,
    ReferringExpressions,
)
from glip_pl.data.formats import FORMATS, Annotation, AnnotationSet, Record
from glip_pl.inference.postprocess import PostProcess
from glip_pl.metrics import DetectionAP
from glip_pl.results.manifest import protocol
from glip_pl.results.predictions import Seen
from glip_pl.structures import Detections

DETECTION = (
    *("coco", "lvis", "openimages", "voc", "yolo", "odvg", "webdataset"),
    *("label_studio", "cvat"),
)
GROUNDING = ("mdetr", "odvg", "webdataset")
NAMES = {1: "cat", 5: "dog", 90: "hair drier"}
CAPTION = "a man and a dog on the left"
MAN, DOG = ((0, 5),), ((10, 15),)


def images(root: Path) -> Path:
    for name in ("a.png", "b.png"):
        write_image(root / "source" / name, 40, 60)
    return root / "source"


def detection_set(root: Path) -> AnnotationSet:
    shown = (Annotation((1, 2, 11, 22), 90), Annotation((5, 5, 11, 12), 1))
    records = [Record(1, "a.png", (40, 60), shown), Record(2, "b.png", (40, 60))]
    return AnnotationSet(images(root), records, NAMES)


def grounding_set(root: Path) -> AnnotationSet:
    links = (
        Annotation((30, 5, 40, 15), tokens_positive=DOG),
        Annotation((1, 2, 11, 22), tokens_positive=MAN),
        Annotation((30, 5, 40, 15), tokens_positive=MAN),
    )
    whole = (Annotation((1, 2, 11, 22), tokens_positive=((0, 5),)),)
    records = [
        Record(1, "a.png", (40, 60), links, CAPTION),
        Record(2, "b.png", (40, 60), whole, "a man"),
    ]
    return AnnotationSet(images(root), records)


def shown_by(dataset: GroundingDataset) -> list[list[tuple[list[float], list[str]]]]:
    """Per image its boxes, rounded, with what each shows."""
    return [
        [
            (
                [round(value, 3) for value in box.tolist()],
                [p for p, yes in zip(sample.prompt.phrases, row, strict=True) if yes],
            )
            for box, row in zip(sample.truth.boxes, sample.truth.shows, strict=True)
        ]
        for sample in dataset
    ]


@pytest.mark.parametrize("form", DETECTION)
def test_detection_gives_the_same_samples_from_every_format(tmp_path, form):
    held = detection_set(tmp_path)
    FORMATS[form].write({"train": held, "val": held}, tmp_path / "written")

    dataset = loaded(CategoryDetection("written", split="val", format=form), tmp_path)

    assert shown_by(dataset) == [
        [([1, 2, 11, 22], ["hair drier"]), ([5, 5, 11, 12], ["cat"])],
        [],
    ]
    assert sorted(dataset[0].prompt.phrases) == ["cat", "dog", "hair drier"]
    assert dataset.problems == {}


@pytest.mark.parametrize("form", GROUNDING)
def test_grounding_gives_the_same_samples_from_every_format(tmp_path, form):
    held = grounding_set(tmp_path)
    FORMATS[form].write({"train": held, "val": held}, tmp_path / "written")

    dataset = loaded(PhraseGrounding("written", split="train"), tmp_path)

    assert [sample.prompt.caption for sample in dataset] == [CAPTION, "a man"]
    assert shown_by(dataset) == [
        [([30, 5, 40, 15], ["a man", "a dog"]), ([1, 2, 11, 22], ["a man"])],
        [([1, 2, 11, 22], ["a man"])],
    ]


@pytest.mark.parametrize("form", ["odvg", "cvat", "label_studio"])
def test_images_may_lie_where_nobody_would_look(tmp_path, form):
    FORMATS[form].write({"train": detection_set(tmp_path)}, tmp_path / "set")
    elsewhere = tmp_path / "far/away"
    elsewhere.parent.mkdir()
    (tmp_path / "set/images").rename(elsewhere)
    (tmp_path / "source").rename(tmp_path / "gone")

    dataset = CategoryDetection("set", images="far/away", format=form)
    dataset.load(tmp_path)

    assert [record.file_name for record in dataset.records] == ["a.png", "b.png"]
    assert dataset.problems == {}


def test_captions_may_lie_away_from_their_images(tmp_path):
    write_image(tmp_path / "far/away/a.png", 40, 60)
    (tmp_path / "captions.tsv").write_text("a.png\ta dog\n")

    found = FORMATS["captions"].read_with_images(tmp_path / "captions.tsv", tmp_path / "far/away")

    assert [record.caption for record in found["all"].records] == ["a dog"]


def test_referring_expressions_are_read_from_the_files_of_refcoco(tmp_path):
    box = Annotation((1, 2, 11, 22), tokens_positive=((0, 7),))
    record = Record(1, "a.png", (40, 60), (box,), "the man")
    FORMATS["refcoco"].write({"testA": AnnotationSet(images(tmp_path), [record])}, tmp_path / "ref")

    dataset = loaded(ReferringExpressions("ref", format="refcoco"), tmp_path)

    assert shown_by(dataset) == [[([1, 2, 11, 22], ["the man"])]]


def test_flickr30k_is_read_from_its_folder(tmp_path):
    write_image(tmp_path / "images" / "7.png", 40, 60)
    (tmp_path / "images" / "7.png").rename(tmp_path / "images" / "7.jpg")
    for folder in ("Sentences", "Annotations"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Sentences" / "7.txt").write_text("[/EN#3/people A man] in a hat .\n")
    (tmp_path / "test.txt").write_text("7\n")
    (tmp_path / "Annotations" / "7.xml").write_text(
        "<annotation><size><width>60</width><height>40</height></size><object><name>3</name>"
        "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox></object>"
        "</annotation>"
    )

    dataset = loaded(PhraseGrounding("."), tmp_path)

    assert shown_by(dataset) == [[([1, 2, 11, 22], ["A man"])]]
    assert dataset[0].truth.phrase_types == (("people",),)


def test_a_set_in_tar_files_is_trained_and_evaluated_on(tmp_path):
    held = detection_set(tmp_path)
    FORMATS["webdataset"].write({"train": held, "val": held}, tmp_path)
    train, val = (CategoryDetection(".", split=split) for split in ("train", "val"))
    data = GroundingDataModule(str(tmp_path), [train], val={"v": val}, test={"v": val})
    data.setup("fit")
    data.connect(FakeTokenizer())

    (batch,) = data.train_dataloader()
    evaluated = [truth for batch in data.val_dataloader()[0] for truth in batch.truths]

    assert len(batch) == 2
    assert len(evaluated) == 2
    assert val.image_path(val.records[0]) == tmp_path / "val-000000.tar" / "00000000.png"


@pytest.mark.parametrize(
    ("form", "broken"),
    [
        ("coco", "annotations/test.json"),
        ("openimages", "test-annotations-bbox.csv"),
        ("odvg", "annotations/test.jsonl"),
        ("yolo", "labels/test/a.txt"),
        ("webdataset", "test-000000.tar"),
    ],
)
def test_a_broken_split_does_not_disturb_those_that_are_read(tmp_path, form, broken):
    held = detection_set(tmp_path)
    FORMATS[form].write({"train": held, "test": held}, tmp_path / form)
    assert (tmp_path / form / broken).is_file()
    train = CategoryDetection(form, split="train")
    (tmp_path / form / broken).write_bytes(b"\xff\xfe no annotations")

    assert len(loaded(train, tmp_path)) == 2
    assert not train.problems


def hash_of_images(root: Path) -> str:
    """Describe a test on the first image of the shards in `root`."""
    dataset = CategoryDetection(".")
    data = GroundingDataModule(str(root), [], val={}, test={"v": dataset})
    data.setup("test")
    nothing = torch.empty(0)
    found = Detections(nothing.reshape(0, 4), nothing, nothing.long())
    shows = torch.zeros(0, 3, dtype=torch.bool)
    seen = Seen(1, (), torch.tensor([*NAMES]), found.boxes, shows, nothing.bool(), found)
    record = protocol(
        data,
        dataset,
        metric=DetectionAP(NAMES),
        postprocess=PostProcess(),
        seen=[seen],
        captions={},
    )
    return record["images"]["sha256"]


def test_the_manifest_tells_images_in_tar_files_apart(tmp_path):
    held = detection_set(tmp_path)
    for folder in ("one", "same", "other"):
        if folder == "other":
            write_image(held.images / "a.png", 40, 60, seed=1)
            (held.images / "a.png").write_bytes((held.images / "a.png").read_bytes() + b"more")
        FORMATS["webdataset"].write({"val": held}, tmp_path / folder)

    one, same, other = (hash_of_images(tmp_path / name) for name in ("one", "same", "other"))

    assert one == same
    assert one != other


def test_the_files_of_a_single_split_need_no_name_of_it(tmp_path):
    FORMATS["odvg"].write({"train": detection_set(tmp_path)}, tmp_path / "written")

    dataset = loaded(CategoryDetection("written/annotations/train.jsonl"), tmp_path)

    assert len(dataset) == 2


def test_a_folder_of_several_splits_needs_the_name_of_one(tmp_path):
    held = detection_set(tmp_path)
    FORMATS["yolo"].write({"train": held, "val": held}, tmp_path / "written")

    with pytest.raises(ValueError, match=r"has the splits train, val.*`split`"):
        CategoryDetection("written").load(tmp_path)
    with pytest.raises(ValueError, match=r"no split 'test', but train, val"):
        CategoryDetection("written", split="test").load(tmp_path)


def test_a_folder_of_no_known_form_is_refused_with_the_names_of_the_forms(tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(ValueError, match=r"none of the formats coco.*`format` of the data set"):
        CategoryDetection("empty").load(tmp_path)
    with pytest.raises(ValueError, match=r"no format 'cocoa'; give one of coco"):
        CategoryDetection("empty", format="cocoa").load(tmp_path)
    with pytest.raises(ValueError, match=r"no annotation file or folder.*--data\.root=PATH"):
        CategoryDetection("elsewhere").load(tmp_path)


def test_phrases_are_refused_as_detection_with_the_class_that_reads_them(tmp_path):
    held = {"train": grounding_set(tmp_path)}
    FORMATS["webdataset"].write(held, tmp_path / "shards")
    FORMATS["mdetr"].write(held, tmp_path / "mdetr")

    for path in ("shards", "mdetr", "mdetr/annotations/train.json"):
        with pytest.raises(ValueError, match=r"no categories.*PhraseGrounding"):
            CategoryDetection(path).load(tmp_path)


def test_detection_is_refused_as_phrases_with_the_class_that_reads_it(tmp_path):
    held = {"train": detection_set(tmp_path)}
    FORMATS["voc"].write(held, tmp_path / "voc")
    FORMATS["coco"].write(held, tmp_path / "coco")

    for path, images_at in (
        ("voc", None),
        ("coco", None),
        ("coco/annotations/train.json", "source"),
    ):
        with pytest.raises(ValueError, match=r"no image .* has a caption.*CategoryDetection"):
            PhraseGrounding(path, images_at).load(tmp_path)


def test_each_class_takes_its_part_of_a_file_that_holds_both_and_counts_the_rest(tmp_path):
    boxes, phrases = detection_set(tmp_path), grounding_set(tmp_path)
    records = [boxes.records[0], phrases.records[1]]
    both = AnnotationSet(boxes.images, records, NAMES)
    FORMATS["odvg"].write({"train": both}, tmp_path / "written")

    detection = loaded(CategoryDetection("written"), tmp_path)
    grounding = loaded(PhraseGrounding("written"), tmp_path)

    assert [sample.truth.image_id for sample in detection] == [1]
    assert detection.problems == {"image with a box that has no category": ["image 2 (b.png)"]}
    assert [sample.truth.image_id for sample in grounding] == [2]
    assert grounding.problems == {"image without a caption": ["image 1 (a.png)"]}


def test_images_may_lie_in_another_folder_than_the_form_has_them_in(tmp_path):
    FORMATS["coco"].write({"train": detection_set(tmp_path)}, tmp_path / "written")
    write_image(tmp_path / "photos" / "a.png", 40, 60)

    dataset = loaded(CategoryDetection("written", "photos"), tmp_path)

    assert [dataset.image_path(record) for record in dataset.records] == [
        tmp_path / "photos" / "a.png"
    ]
    assert dataset.problems == {"missing image file": [str(tmp_path / "photos" / "b.png")]}


def test_what_a_form_leaves_out_stands_in_the_problems_of_the_set(tmp_path):
    FORMATS["odvg"].write({"train": detection_set(tmp_path)}, tmp_path / "written")
    file = tmp_path / "written" / "annotations" / "train.jsonl"
    file.write_text(file.read_text() + "no json\n")

    assert loaded(CategoryDetection("written"), tmp_path).problems == {
        "line that is no JSON object": ["line 3"]
    }


def test_the_protocol_of_lvis_needs_its_json(tmp_path):
    FORMATS["voc"].write({"val": detection_set(tmp_path)}, tmp_path / "voc")

    with pytest.raises(ValueError, match="cannot read the annotation file"):
        LvisDetection("voc").load(tmp_path)


def test_a_json_file_of_one_line_of_odvg_is_not_taken_for_coco(tmp_path):
    write_image(tmp_path / "images" / "a.png", 40, 60)
    instance = {"bbox": [1, 2, 11, 22], "label": 0, "category": "cat"}
    line = {"filename": "a.png", "height": 40, "width": 60}
    line["detection"] = {"instances": [instance]}
    (tmp_path / "train.json").write_text(json.dumps(line) + "\n")

    dataset = loaded(CategoryDetection("train.json"), tmp_path)

    assert shown_by(dataset) == [[([1, 2, 11, 22], ["cat"])]]
