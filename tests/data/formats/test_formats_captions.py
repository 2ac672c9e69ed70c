"""Captions that are one phrase as a whole, or have no box: RefCOCO's family, pairs, and shards."""

import json
import pickle
import tarfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import webdataset
from helpers import write_image
from PIL import Image

from glip_pl.data.formats import detect_format
from glip_pl.data.formats.captions import Captions
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.data.formats.common.tar_files import image_file
from glip_pl.data.formats.refcoco.plain_pickle import read_plain_pickle
from glip_pl.data.formats.refcoco.refcoco import RefCoco
from glip_pl.data.formats.webdataset.webdataset import WebDatasetShards

INSTANCES = {
    "images": [{"id": 4, "file_name": "a.png", "height": 40, "width": 60}],
    "annotations": [
        {"id": 11, "image_id": 4, "category_id": 18, "bbox": [1, 2, 10, 20], "iscrowd": 0},
        {"id": 12, "image_id": 4, "category_id": 18, "bbox": [20, 2, 30, 20], "iscrowd": 1},
        {"id": 13, "image_id": 4, "category_id": 18, "bbox": [5, 5, 0, 20], "iscrowd": 0},
    ],
    "categories": [{"id": 18, "name": "dog"}],
}
LEFT, RIGHT = (1.0, 2.0, 11.0, 22.0), (20.0, 2.0, 50.0, 22.0)


def reference(split, ann_id, *sentences, first=1):
    return {
        "ref_id": 1,
        "split": split,
        "image_id": 4,
        "ann_id": ann_id,
        "sentences": [{"sent_id": i, "sent": s} for i, s in enumerate(sentences, start=first)],
    }


def write_references(root, *references, name="refs(unc).p"):
    """Write instances.json, the image and the references, a pickle where the name says so."""
    write_image(root / "images" / "a.png", 40, 60)
    (root / "instances.json").write_text(json.dumps(INSTANCES))
    held = list(references)
    # The authors' pickles are of Python 2, which wrote protocol 2 at most.
    content = pickle.dumps(held, protocol=2) if name.endswith(".p") else json.dumps(held).encode()
    (root / name).write_bytes(content)
    return root


# RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO


def test_every_sentence_of_a_reference_is_a_record_whose_phrase_is_the_whole(tmp_path):
    write_references(tmp_path, reference("testA", 12, "right dog", "a dog on the right"))

    sets = RefCoco().read(tmp_path)

    assert sets.keys() == {"testA"}
    assert sets["testA"].names == {18: "dog"}
    assert sets["testA"].records == [
        Record(
            *(1, "a.png", (40, 60)),
            annotations=(Annotation(RIGHT, 18, ((0, 9),), crowd=True),),
            caption="right dog",
        ),
        Record(
            *(2, "a.png", (40, 60)),
            annotations=(Annotation(RIGHT, 18, ((0, 18),), crowd=True),),
            caption="a dog on the right",
        ),
    ]


def test_a_folder_with_references_is_refcoco_and_its_boxes_alone_are_coco(tmp_path):
    write_references(tmp_path, reference("train", 12, "right dog"))

    assert detect_format(tmp_path).name == "refcoco"
    assert detect_format(tmp_path / "refs(unc).p").name == "refcoco"
    assert detect_format(tmp_path / "instances.json").name == "coco"


def test_references_are_shared_out_by_their_split(tmp_path):
    splits = ("train", "val", "testA", "testB", "test")
    write_references(tmp_path, *(reference(split, 11, "dog") for split in splits))

    assert tuple(RefCoco().read(tmp_path)) == splits


def test_a_reference_of_grefcoco_has_several_boxes_or_none(tmp_path):
    write_references(
        tmp_path,
        reference("val", [11, 12], "both dogs"),
        reference("val", [-1], "the cat", first=2),
        reference("val", [], "a bird", first=3),
        name="grefs(unc).json",
    )

    both, cat, bird = RefCoco().read(tmp_path)["val"].records

    assert [link.box for link in both.annotations] == [LEFT, RIGHT]
    assert (cat.caption, cat.annotations) == ("the cat", ())
    assert (bird.caption, bird.annotations) == ("a bird", ())


def test_a_reference_that_lost_a_box_is_left_out_rather_than_said_of_nothing(tmp_path):
    write_references(tmp_path, reference("val", 11, "dog"), reference("val", [11, 13], "dogs"))

    found = RefCoco().read(tmp_path)["val"]

    assert [record.caption for record in found.records] == ["dog"]
    assert found.problems == {
        "box without area": ["annotation 13 of image 4: [5, 5, 0, 20]"],
        "reference whose annotation is unknown or left out": ["reference 1"],
    }


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    class Touch:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    write_references(tmp_path, reference("val", 11, "dog"))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([Touch()]))

    with pytest.raises(ValueError, match=r"refs\(unc\)\.p.*asks for (_?io)\.open.*JSON"):
        RefCoco().read(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1])[:-1]])
def test_a_broken_pickle_is_refused(tmp_path, content):
    (tmp_path / "a.p").write_bytes(content)

    with pytest.raises(ValueError, match=r"cannot read the pickle .*a\.p"):
        read_plain_pickle(tmp_path / "a.p")


def test_text_of_python_2_in_a_pickle_is_read(tmp_path):
    # Protocol 0: a list that has one string, as Python 2 wrote it.
    (tmp_path / "a.p").write_bytes(b"(lp0\nS'caf\\xc3\\xa9'\np1\na.")

    assert read_plain_pickle(tmp_path / "a.p") == ["café"]


def test_a_folder_of_two_files_of_references_asks_which(tmp_path):
    write_references(tmp_path, reference("val", 11, "dog"))
    write_references(tmp_path, reference("train", 11, "dog"), name="refs(google).p")

    with pytest.raises(ValueError, match=r"2 files of references.*google.*name the one to read"):
        RefCoco().read(tmp_path)
    assert RefCoco().read(tmp_path / "refs(google).p").keys() == {"train"}


@pytest.mark.parametrize(
    ("ids", "name"), [(12, "refs(unc).json"), ([11, 12], "grefs(unc).json")], ids=["one", "two"]
)
def test_references_are_written_and_read_again(tmp_path, ids, name):
    write_references(tmp_path, reference("val", ids, "dog", "a dog"))
    sets = RefCoco().read(tmp_path)

    RefCoco().write(sets, tmp_path / "out")

    assert json.loads((tmp_path / "out" / name).read_text())[0]["ann_id"] == (
        1 if name.startswith("refs") else [1, 2]
    )
    assert RefCoco().read(tmp_path / "out")["val"].records == sets["val"].records


def test_refcoco_refuses_to_write_a_phrase_that_is_a_part_of_its_caption(tmp_path):
    record = Record(1, "a.png", (40, 60), (Annotation(LEFT, 18, ((2, 5),)),), "a dog")

    with pytest.raises(ValueError, match=r"a part of its caption.*write mdetr or odvg"):
        RefCoco().write({"val": AnnotationSet(tmp_path, [record])}, tmp_path / "out")


# Pairs of image and caption


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'filepath\ttitle\na.png\tA 4" dog, left\n'),
        ("a.tsv", 'A 4" dog, left\ta.png\n'),
        ("a.csv", 'image,caption\na.png,"A 4"" dog, left"\n'),
        ("a.csv", 'image_name| comment_number| comment\na.png| 0| A 4"" dog, left\n'),
        ("a.jsonl", '{"image": "a.png", "caption": "A 4\\" dog, left"}\n'),
    ],
    ids=["tsv", "tsv without names", "csv", "csv with bars", "jsonl"],
)
def test_pairs_are_read_from_tables_and_lines(tmp_path, name, content):
    write_image(tmp_path / "images" / "a.png", 40, 60)
    (tmp_path / name).write_text(content)

    found = Captions().read(tmp_path / name)["all"]

    caption = 'A 4"" dog, left' if "comment" in content else 'A 4" dog, left'
    assert found.records == [Record(1, "a.png", (40, 60), caption=caption)]
    assert found.problems == {}


def test_text_files_beside_images_are_captions_and_yolo_labels_are_not(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "train" / name, 40, 60)
    (tmp_path / "train" / "a.txt").write_text("A dog\n\nA left dog\n")
    (tmp_path / "train" / "b.txt").write_text("0 0.5 0.5 0.25 0.25\n")

    found = Captions().read(tmp_path)["train"]

    assert [(r.file_name, r.caption) for r in found.records] == [
        ("a.png", "A dog"),
        ("a.png", "A left dog"),
    ]


def test_pairs_without_image_or_caption_are_counted(tmp_path):
    write_image(tmp_path / "a.png", 40, 60)
    (tmp_path / "a.tsv").write_text("image\tcaption\na.png\nb.png\tA cat\na.png\t \na.png\tA dog\n")

    found = Captions().read(tmp_path / "a.tsv")["all"]

    assert [record.caption for record in found.records] == ["A dog"]
    assert found.problems == {
        "line without the name of an image": ["line 2"],
        checks.MISSING_FILE: ["b.png"],
        "image without a caption": ["a.png of line 4"],
    }


def test_captions_are_written_and_read_again(tmp_path):
    write_image(tmp_path / "images" / "a.png", 40, 60)
    records = [Record(i, "a.png", (40, 60), caption=f"Dog {i}") for i in (1, 2)]

    Captions().write({"val": AnnotationSet(tmp_path / "images", records)}, tmp_path / "out")

    assert Captions().read(tmp_path / "out")["val"].records == records


def test_captions_tell_that_they_lose_the_boxes(tmp_path):
    links = (Annotation(LEFT, tokens_positive=((0, 3),)), Annotation(RIGHT))
    sets = {"val": AnnotationSet(tmp_path, [Record(1, "a.png", (40, 60), links, "dog")])}

    assert Captions().losses(sets) == {"boxes": 2}


def test_captions_refuse_to_write_a_record_without_one(tmp_path):
    sets = {"val": AnnotationSet(tmp_path, [Record(1, "a.png", (40, 60))])}

    with pytest.raises(ValueError, match=r"a\.png.*no caption; write another format"):
        Captions().write(sets, tmp_path / "out")


# Shards


@pytest.fixture
def shard_sets(tmp_path):
    """Make three records of two images, which hold all that a record can."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name, 40, 60, seed=ord(name[0]))
    whole = Annotation(LEFT, 18, ((0, 3),), True, 0.5, ("animals",))
    records = [
        Record(5, "a.png", (40, 60), (whole, Annotation(RIGHT, 19)), "dog", (20,), (18, 19)),
        Record(6, "a.png", (40, 60), (), "no dog", ()),
        Record(7, "b.png", (40, 60)),
    ]
    names, frequency = {18: "dog", 19: "cat", 20: "cow"}, {18: "f"}
    return {"train": AnnotationSet(tmp_path / "images", records, names, frequency)}


def test_shards_keep_everything_but_the_names_of_the_files(shard_sets, tmp_path):
    form = WebDatasetShards()

    form.write(shard_sets, tmp_path / "out")
    found = form.read(tmp_path / "out")["train"]

    assert form.losses(shard_sets) == {}
    assert (found.names, found.frequency) == (
        shard_sets["train"].names,
        shard_sets["train"].frequency,
    )
    assert [r.file_name for r in found.records] == [
        "train-000000.tar/00000000.png",
        "train-000000.tar/00000000.png",
        "train-000000.tar/00000001.png",
    ]
    for record, again in zip(shard_sets["train"].records, found.records, strict=True):
        fields = ("image_id", "size", "annotations", "caption", "absent", "not_exhaustive")
        assert [getattr(again, f) for f in fields] == [getattr(record, f) for f in fields]


def test_records_of_an_image_are_moved_together_so_that_it_is_stored_once(shard_sets, tmp_path):
    first, second, other = shard_sets["train"].records
    moved = replace(shard_sets["train"], records=[first, other, second])

    WebDatasetShards().write({"train": moved}, tmp_path / "out")

    found = WebDatasetShards().read(tmp_path / "out")["train"].records
    assert [record.image_id for record in found] == [5, 6, 7]
    assert len({record.file_name for record in found}) == 2


def test_an_image_is_read_out_of_its_shard(shard_sets, tmp_path):
    WebDatasetShards().write(shard_sets, tmp_path / "out")

    with Image.open(image_file(tmp_path / "out" / "train-000000.tar" / "00000001.png")) as image:
        read = np.asarray(image)

    assert (read == np.asarray(Image.open(tmp_path / "images" / "b.png"))).all()
    with pytest.raises(ValueError, match=r"train-000000.tar' has no file 'c.png'"):
        image_file(tmp_path / "out" / "train-000000.tar" / "c.png")


def test_a_full_shard_is_followed_by_another(shard_sets, tmp_path):
    WebDatasetShards(max_bytes=1).write(shard_sets, tmp_path / "out")

    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "info.json",
        "train-000000.tar",
        "train-000001.tar",
    ]
    assert len(WebDatasetShards().read(tmp_path / "out")["train"].records) == 3


def test_shards_can_be_written_out_of_shards(shard_sets, tmp_path):
    WebDatasetShards().write(shard_sets, tmp_path / "one")
    sets = WebDatasetShards().read(tmp_path / "one")

    WebDatasetShards().write(sets, tmp_path / "two")

    assert WebDatasetShards().read(tmp_path / "two")["train"].records == sets["train"].records


def write_shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))


def test_shards_of_others_give_captions_from_txt_or_json(tmp_path):
    write_image(tmp_path / "a.jpg", 40, 60)
    image = (tmp_path / "a.jpg").read_bytes()
    write_shard(
        tmp_path / "00000.tar",
        {
            "000.jpg": image,
            "000.txt": b"A dog",
            "000.json": b'{"url": "x"}',
            "001.jpg": image,
            "001.json": b'{"caption": "A cat", "height": 30, "width": 20}',
            "002.jpg": image,
            "003.jpg": image,
            "003.json": b"{",
        },
    )

    found = WebDatasetShards().read(tmp_path)["all"]

    assert found.records == [
        Record(1, "00000.tar/000.jpg", (40, 60), caption="A dog"),
        Record(2, "00000.tar/001.jpg", (30, 20), caption="A cat"),
    ]
    assert {kind: [n.split(" (")[0] for n in names] for kind, names in found.problems.items()} == {
        "sample without an image, or without a json or txt": ["sample 002 of 00000.tar"],
        "sample whose json or image cannot be read": ["00000.tar/003.jpg"],
    }


def test_a_shard_that_is_cut_off_is_refused(shard_sets, tmp_path):
    WebDatasetShards().write(shard_sets, tmp_path / "out")
    shard = tmp_path / "out" / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:9000])

    with pytest.raises(ValueError, match=r"cannot read the shard .*train-000000\.tar"):
        WebDatasetShards().read(tmp_path / "out")["train"]


def test_the_webdataset_library_reads_our_shards(shard_sets, tmp_path):
    WebDatasetShards().write(shard_sets, tmp_path / "out")

    url = str(tmp_path / "out" / "train-000000.tar")
    samples = list(webdataset.WebDataset(url, shardshuffle=False))

    assert [sample["__key__"] for sample in samples] == ["00000000", "00000001"]
    assert samples[1]["png"] == (tmp_path / "images" / "b.png").read_bytes()
    assert [r["image_id"] for r in json.loads(samples[0]["json"])["records"]] == [5, 6]
