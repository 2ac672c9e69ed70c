import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import MATERIAL, write_coco, write_image
from PIL import Image

from glip_pl.data.formats import FORMATS, Annotation, AnnotationSet, Record, detect_format

DATASETS = MATERIAL / "datasets"
DETECTION = ("coco", "lvis", "openimages", "voc", "yolo")
NAMES = {1: "cat", 5: "dog", 90: "hair drier"}


def read(form: str, path: Path) -> Mapping[str, AnnotationSet]:
    return FORMATS[form].read(path)


def boxes_of(annotation_set: AnnotationSet) -> dict[str, list[tuple]]:
    """Per file its boxes with names and crowd flags, in order."""
    return {
        record.file_name: [
            (annotation_set.names[a.category], a.box, a.crowd) for a in record.annotations
        ]
        for record in annotation_set.records
    }


def random_sets(root: Path, seed: int) -> dict[str, AnnotationSet]:
    """Sets of two splits with odd sizes, boxes with many digits, and images without boxes."""
    draw = random.Random(seed)
    sets = {}
    for split in ("train", "val"):
        records = []
        for number in range(1, 6):
            height, width = draw.randint(3, 60), draw.randint(3, 60)
            name = f"{split} {number}.png"
            write_image(root / split / name, height, width)
            annotations = []
            for _ in range(draw.choice((0, 1, 4))):
                (x1, x2), (y1, y2) = (
                    sorted((draw.uniform(0, side), draw.uniform(0, side)))
                    for side in (width, height)
                )
                crowd = draw.random() < 0.3
                annotations.append(Annotation((x1, y1, x2, y2), draw.choice([*NAMES]), crowd=crowd))
            records.append(Record(number, name, (height, width), tuple(annotations)))
        sets[split] = AnnotationSet(root / split, records, NAMES)
    return sets


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# Every format


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", DETECTION)
def test_what_is_written_is_read_back(tmp_path, form, seed):
    sets = random_sets(tmp_path / "source", seed)

    FORMATS[form].write(sets, tmp_path / "written")
    back = read(form, tmp_path / "written")

    assert list(back) == ["train", "val"]
    for split, annotation_set in sets.items():
        assert back[split].problems == {}
        assert sorted(back[split].names.values()) == sorted(NAMES.values())
        found, wanted = boxes_of(back[split]), boxes_of(annotation_set)
        assert found.keys() == wanted.keys()
        for name, boxes in wanted.items():
            assert [b[0] for b in found[name]] == [b[0] for b in boxes]
            for (_, box, crowd), (_, wanted_box, wanted_crowd) in zip(
                found[name], boxes, strict=True
            ):
                assert box == pytest.approx(wanted_box, abs=1e-6)
                assert crowd == (wanted_crowd and "crowd" in FORMATS[form].holds)


@pytest.mark.parametrize("form", DETECTION)
def test_what_is_written_is_seen_as_that_format_alone(tmp_path, form):
    FORMATS[form].write(random_sets(tmp_path / "source", 0), tmp_path / "written")

    assert detect_format(tmp_path / "written").name == form


@pytest.mark.parametrize("form", DETECTION)
def test_another_file_of_the_same_name_gets_a_name_of_its_own(tmp_path, form):
    sets = {}
    for value, split in enumerate(("train", "val")):
        write_image(tmp_path / split / "a.png", 10, 10 + value)
        record = Record(1, "a.png", (10, 10 + value), (Annotation((1, 2, 3, 4), 1),))
        sets[split] = AnnotationSet(tmp_path / split, [record], NAMES)

    FORMATS[form].write(sets, tmp_path / "written")
    back = read(form, tmp_path / "written")

    for split, width in (("train", 10), ("val", 11)):
        (record,) = back[split].records
        assert record.size == (10, width)
        with Image.open(back[split].images / record.file_name) as image:
            assert image.size == (width, 10)


@pytest.mark.parametrize("form", ["openimages", "voc", "yolo"])
def test_files_that_differ_in_the_suffix_alone_keep_their_own_boxes(tmp_path, form):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, 10, 10)
    records = [
        Record(1, "a.png", (10, 10), (Annotation((1, 1, 2, 2), 1),)),
        Record(2, "a.jpg", (10, 10), (Annotation((3, 3, 4, 4), 1),)),
    ]

    FORMATS[form].write({"train": AnnotationSet(tmp_path, records, NAMES)}, tmp_path / "written")
    (back,) = read(form, tmp_path / "written").values()

    assert {Path(r.file_name).suffix: r.annotations[0].box[0] for r in back.records} == (
        pytest.approx({".png": 1, ".jpg": 3})
    )


@pytest.mark.parametrize("form", DETECTION)
def test_a_box_of_a_caption_is_named_by_its_phrase(tmp_path, form):
    write_image(tmp_path / "a.png", 10, 10)
    cat, sofa = Annotation((1, 1, 5, 5), tokens_positive=((0, 5),)), (9, 13)
    records = [
        Record(
            *(1, "a.png", (10, 10)),
            annotations=(cat, Annotation((2, 2, 9, 9), tokens_positive=(sofa,))),
            caption="a cat on sofa",
        ),
        Record(2, "a.png", (10, 10), (cat,), caption="a cat"),
    ]

    FORMATS[form].write({"train": AnnotationSet(tmp_path, records)}, tmp_path / "written")
    (back,) = read(form, tmp_path / "written").values()

    # Two captions name the same box "a cat", which is one box.
    (found,) = boxes_of(back).values()
    assert [name for name, _, _ in found] == ["a cat", "sofa"]


def test_a_phrase_has_one_number_in_all_splits(tmp_path):
    sets = {}
    for split, caption in (("train", "a cat"), ("val", "The dog."), ("test", "A CAT")):
        write_image(tmp_path / split / "a.png", 10, 10)
        box = Annotation((1, 1, 5, 5), tokens_positive=((0, len(caption.rstrip("."))),))
        record = Record(1, "a.png", (10, 10), (box,), caption=caption)
        sets[split] = AnnotationSet(tmp_path / split, [record], {1: "owl"})

    FORMATS["coco"].write(sets, tmp_path / "written")
    back = read("coco", tmp_path / "written")

    assert all(s.names == {1: "owl", 2: "a cat", 3: "the dog"} for s in back.values())
    shown = {split: s.records[0].annotations[0].category for split, s in back.items()}
    assert shown == {"train": 2, "val": 3, "test": 2}


def test_a_folder_of_no_format_is_refused_with_their_names(tmp_path):
    with pytest.raises(ValueError, match=r"none of the formats coco, coco_panoptic, lvis, open"):
        detect_format(tmp_path)


def test_what_a_format_cannot_hold_is_counted(tmp_path):
    annotations = (Annotation((1, 1, 2, 2), 1, crowd=True), Annotation((1, 1, 2, 2), 1, score=0.5))
    records = [Record(1, "a.png", (9, 9), annotations, absent=(5,)), Record(2, "b.png", (9, 9))]
    sets = {"train": AnnotationSet(tmp_path, records, NAMES)}

    assert FORMATS["lvis"].losses(sets) == {}
    assert FORMATS["coco"].losses(sets) == {"absent": 1}
    assert FORMATS["voc"].losses(sets) == {"score": 1, "absent": 1}
    assert FORMATS["yolo"].losses(sets) == {"crowd": 1, "score": 1, "absent": 1}


# COCO


def test_cocos_box_is_its_corner_and_sides(tmp_path):
    write_coco(tmp_path, {"a.png": [(90, (1.5, 2, 10, 20))]}, names=NAMES)

    (found,) = read("coco", tmp_path).values()

    assert boxes_of(found) == {"a.png": [("hair drier", (1.5, 2.0, 11.5, 22.0), False)]}
    assert found.names == NAMES
    assert found.records[0].size == (40, 60)


def test_coco_keeps_ids_crowds_and_scores(tmp_path):
    write_image(tmp_path / "a.png", 9, 9)
    annotations = (Annotation((1, 1, 2, 2), 90, crowd=True), Annotation((1, 1, 2, 2), 5, score=0.5))
    source = AnnotationSet(tmp_path, [Record(42, "a.png", (9, 9), annotations)], NAMES)

    FORMATS["coco"].write({"train": source}, tmp_path / "written")
    back = read("coco", tmp_path / "written")["train"]

    assert back.records == source.records
    assert back.names == NAMES


def test_decimals_of_a_box_are_written_without_noise(tmp_path):
    write_image(tmp_path / "a.png", 500, 400)
    # 202.83 + 96.87 is 299.7, and 299.7 - 202.83 in binary is 96.86999999999998.
    record = Record(1, "a.png", (500, 400), (Annotation((202.83, 1, 299.7, 2), 1),))

    FORMATS["coco"].write({"train": AnnotationSet(tmp_path, [record], NAMES)}, tmp_path / "written")

    assert '"bbox": [202.83, 1.0, 96.87, 1.0]' in (
        (tmp_path / "written/annotations/train.json").read_text()
    )


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/train.json", "images"),
        ("annotations/train.json", "images/train"),
        ("annotations/instances_train2017.json", "train2017"),
        ("train.json", "images"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_images_are_found_in_every_known_layout(tmp_path, annotations, images):
    file = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, names=NAMES)
    (tmp_path / annotations).parent.mkdir(exist_ok=True)
    file.rename(tmp_path / annotations)
    (tmp_path / images).mkdir(parents=True, exist_ok=True)
    (tmp_path / "images/a.png").rename(tmp_path / images / "a.png")

    found = read("coco", tmp_path)

    assert list(found) == ["train"]
    assert found["train"].images == tmp_path / images
    assert len(found["train"].records) == 1


def test_roboflows_valid_is_the_split_val(tmp_path):
    file = write_coco(tmp_path, {"a.png": []}, names=NAMES)
    (tmp_path / "images").rename(tmp_path / "valid")
    file.rename(tmp_path / "valid/_annotations.coco.json")

    assert list(read("coco", tmp_path)) == ["val"]


def test_a_lone_file_is_the_split_all(tmp_path):
    file = write_coco(tmp_path, {"a.png": []}, names=NAMES)

    assert list(read("coco", file)) == ["all"]


def test_folders_that_only_the_json_knows_are_passed_over(tmp_path):
    # Objects365 writes images/v1/patch8/a.png, and its archives unpack to patch8/a.png.
    file = write_coco(tmp_path, {"patch8/a.png": []}, names=NAMES)
    file.write_text(file.read_text().replace("patch8/", "images/v1/patch8/"))

    assert [r.file_name for r in read("coco", tmp_path)["train"].records] == ["patch8/a.png"]


def test_the_instances_are_read_and_the_files_of_other_tasks_are_not(tmp_path):
    file = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, names=NAMES)
    file.rename(file.with_name("instances_train2017.json"))
    (file.parent / "person_keypoints_train2017.json").write_text('{"bbox": 1, "categories": 2}')
    (file.parent / "captions_train2017.json").write_text('{"file_name": 1, "caption": ""}')
    (file.parent / "image_info_test2017.json").write_text('{"file_name": 1, "categories": []}')

    found = read("coco", tmp_path)

    assert list(found) == ["train"]
    assert len(found["train"].records) == 1


def test_a_category_may_be_called_caption(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, names={1: "caption", 2: "synset"})

    assert detect_format(tmp_path).name == "coco"


def test_coco_is_seen_by_its_images_where_the_categories_are_many(tmp_path):
    file = write_coco(tmp_path, {"a.png": []}, names={i: f"name {i}" for i in range(9_000)})

    assert file.stat().st_size > 2 * (1 << 16)
    assert detect_format(tmp_path).name == "coco"


def test_the_file_named_as_the_split_goes_before_others_of_it(tmp_path):
    file = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, names=NAMES)
    file.with_name("small_train.json").write_text(file.read_text().replace('"cat"', '"owl"'))

    assert read("coco", tmp_path)["train"].names == NAMES


def test_two_files_of_one_split_are_refused_by_name(tmp_path):
    file = write_coco(tmp_path, {"a.png": []}, names=NAMES)
    file.with_name("b_train.json").write_text(file.read_text())
    file.rename(file.with_name("a_train.json"))

    both = r"'a_train\.json' and 'b_train\.json' are both of the split 'train'"
    with pytest.raises(ValueError, match=both):
        read("coco", tmp_path)


@pytest.mark.parametrize(
    ("bbox", "kind"),
    [
        ((3, 4, 0, 10), "box without area"),
        ((3, 4, 10, -1), "inverted box"),
        ((70, 4, 10, 10), "box outside its image"),
        ((3, 4, 10), "box that is not four numbers"),
        ((3, 4, 10, None), "box that is not four numbers"),
        ((3, 4, 10, float("nan")), "box that is not four numbers"),
        ((3, 4, 10, float("inf")), "box that is not four numbers"),
        (None, "box that is not four numbers"),
    ],
)
def test_an_impossible_box_is_left_out_and_told_with_its_numbers(tmp_path, bbox, kind):
    file = write_coco(tmp_path, {"a.png": [(1, (1, 1, 5, 5)), (1, (1, 1, 2, 2))]}, names=NAMES)
    document = json.loads(file.read_text())
    document["annotations"][0]["bbox"] = bbox
    file.write_text(json.dumps(document))

    (found,) = read("coco", tmp_path).values()

    told = bbox if bbox is None else list(bbox)
    assert found.problems == {kind: [f"annotation 1 of image 1: {told}"]}
    assert boxes_of(found) == {"a.png": [("cat", (1, 1, 3, 3), False)]}


def test_a_box_partly_outside_is_clipped_and_counted(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, (-5, 30, 20, 20))]}, names=NAMES)

    (found,) = read("coco", tmp_path).values()

    assert list(found.problems) == ["box clipped to its image"]
    assert boxes_of(found) == {"a.png": [("cat", (0, 30, 15, 40), False)]}


def test_a_box_past_the_border_by_rounding_alone_is_no_problem(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, (0, 0, 60.005, 40))]}, names=NAMES)

    (found,) = read("coco", tmp_path).values()

    assert found.problems == {}
    assert boxes_of(found) == {"a.png": [("cat", (0, 0, 60, 40), False)]}


def changed(change):
    """Read a set of two images with a box each, whose JSON was changed."""

    def run(root: Path) -> AnnotationSet:
        boxes = {"a.png": [(1, (1, 1, 5, 5))], "b.png": [(5, (1, 1, 5, 5))]}
        file = write_coco(root, boxes, names=NAMES)
        document = json.loads(file.read_text())
        change(document["images"], document["annotations"], document["categories"])
        file.write_text(json.dumps(document))
        return read("coco", root)["train"]

    return run


@pytest.mark.parametrize(
    ("change", "problems", "boxes"),
    [
        (
            lambda images, _, __: images[1].update(id=1),
            {
                "repeated image id": ["1 of a.png", "1 of b.png"],
                "annotation of an unknown image": ["annotation 2 of image 2"],
            },
            0,
        ),
        (
            lambda _, found, __: found[1].update(id=1),
            {"repeated annotation id": ["annotation 1 of image 2"]},
            2,
        ),
        (
            lambda _, found, __: found[1].update(score="high"),
            {"score that is not a number": ["annotation 2 of image 2: high"]},
            1,
        ),
        (
            lambda _, found, __: found.append([]),
            {"annotation of an unknown image": ["annotation ? of image ?"]},
            2,
        ),
        (
            lambda _, found, __: found[1].update(category_id=7),
            {"annotation of an unknown category": ["annotation 2 of image 2: 7"]},
            1,
        ),
        (
            lambda _, __, names: names[1].update(id=1),
            {
                "repeated category id": ["1 of 'cat', 'dog'"],
                "annotation of an unknown category": ["annotation 2 of image 2: 5"],
            },
            1,
        ),
        (
            lambda _, __, names: names[0].update(name="Hair_Drier"),
            {"category names that read the same in a prompt": ["'Hair_Drier', 'hair drier'"]},
            2,
        ),
        (
            lambda images, _, __: images[1].update(file_name="none.png"),
            {"missing image file": ["none.png"]},
            1,
        ),
        (
            lambda images, _, __: images[1].update(file_name="../annotations/train.json"),
            {"image file outside the folder of images": ["../annotations/train.json"]},
            1,
        ),
        (
            lambda images, _, __: images[1].pop("height"),
            {
                "image entry without a number as id, a file_name, a height and a width": [
                    "image 1 of the list"
                ],
                "annotation of an unknown image": ["annotation 2 of image 2"],
            },
            1,
        ),
    ],
)
def test_each_fault_of_a_json_is_counted(tmp_path, change, problems, boxes):
    found = changed(change)(tmp_path)

    assert found.problems == problems
    assert sum(len(record.annotations) for record in found.records) == boxes


def test_ids_that_are_text_are_numbers(tmp_path):
    def to_text(images, annotations, _):
        images[0]["id"] = annotations[0]["image_id"] = "1"

    found = changed(to_text)(tmp_path)

    assert found.problems == {}
    assert [record.image_id for record in found.records] == [1, 2]


def test_masks_are_counted_as_not_read(tmp_path):
    found = changed(lambda _, a, __: a[0].update(segmentation=[[1, 2, 3, 4, 5, 6]]))(tmp_path)

    assert found.unread == {"segmentation": 1}


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', "[" * 100_000])
def test_a_broken_json_is_refused_by_name(tmp_path, text):
    file = tmp_path / "train.json"
    file.write_text(text)

    with pytest.raises(ValueError, match=r"train\.json"):
        read("coco", file)["all"]


# LVIS


def lvis_document() -> dict:
    return {
        "images": [
            {
                "id": 7,
                "coco_url": "http://images.cocodataset.org/train2017/a.png",
                "height": 10,
                "width": 10,
                "neg_category_ids": [2],
                "not_exhaustive_category_ids": [1],
            }
        ],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [
            {"id": 1, "name": "cat", "frequency": "f", "synset": "cat.n.01"},
            {"id": 2, "name": "dog", "frequency": "r", "synset": "dog.n.01"},
            {"id": 3, "name": "owl", "frequency": "c", "synset": "owl.n.01"},
        ],
    }


@pytest.mark.parametrize("image", ["train2017/a.png", "images/train2017/a.png", "images/a.png"])
def test_lvis_tells_what_is_absent_and_finds_images_by_cocos_address(tmp_path, image):
    write_image(tmp_path / image, 10, 10)
    write_tree(tmp_path, {"annotations/lvis_v1_train.json": json.dumps(lvis_document())})

    assert detect_format(tmp_path).name == "lvis"
    found = read("lvis", tmp_path)["train"]

    (record,) = found.records
    assert (record.absent, record.not_exhaustive) == ((2,), (1,))
    assert (found.images / record.file_name).samefile(tmp_path / image)
    assert found.frequency == {1: "f", 2: "r", 3: "c"}


def test_lvis_comes_back_as_it_was(tmp_path):
    write_image(tmp_path / "train2017/a.png", 10, 10)
    write_tree(tmp_path, {"annotations/lvis_v1_train.json": json.dumps(lvis_document())})
    source = read("lvis", tmp_path)

    FORMATS["lvis"].write(source, tmp_path / "written")
    back = read("lvis", tmp_path / "written")["train"]

    (record,), (wanted,) = back.records, source["train"].records
    assert replace(record, file_name="") == replace(wanted, file_name="")
    assert back.frequency == source["train"].frequency


def test_all_categories_without_a_box_are_absent_where_lvis_is_written_of_coco(tmp_path):
    write_coco(tmp_path / "coco", {"a.png": [(5, (1, 2, 3, 4))]}, names=NAMES)

    FORMATS["lvis"].write(read("coco", tmp_path / "coco"), tmp_path / "lvis")
    document = json.loads((tmp_path / "lvis/annotations/train.json").read_text())

    assert document["images"][0]["neg_category_ids"] == [1, 90]
    assert {c["id"]: c["frequency"] for c in document["categories"]} == {1: "r", 5: "r", 90: "r"}


# OpenImages


BOXES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"


def write_openimages(root: Path, rows: str, **files: str) -> Path:
    write_image(root / "validation/0a.jpg", 10, 20)
    names = "/m/01,Cat\n/m/02,Hair dryer\n"
    tables = {
        "validation-annotations-bbox.csv": BOXES + rows,
        "class-descriptions-boxable.csv": names,
    }
    return write_tree(root, tables | files)


def test_openimages_boxes_are_parts_of_the_image(tmp_path):
    rows = "0a,xclick,/m/02,1,0.25,0.5,0.1,1,0,1,True\n0a,,/m/01,0.75,0,1,0,1,0,0,-1\n"
    write_openimages(tmp_path, rows)

    assert detect_format(tmp_path).name == "openimages"
    found = read("openimages", tmp_path)["val"]

    first, second = found.records[0].annotations
    assert first == Annotation((5, 1, 10, 10), 2, crowd=True)
    assert second == Annotation((0, 0, 20, 10), 1, score=0.75)
    assert found.names == {1: "Cat", 2: "Hair dryer"}
    assert found.unread == {"IsTruncated": 1}


def test_openimages_pictures_without_boxes_count(tmp_path):
    write_openimages(tmp_path, "")

    assert [r.file_name for r in read("openimages", tmp_path)["val"].records] == ["0a.jpg"]


def test_openimages_labels_of_confidence_0_are_absent(tmp_path):
    labels = "ImageID,Source,LabelName,Confidence\n0a,v,/m/01,0\n0a,v,/m/02,1\n"
    write_openimages(
        tmp_path, "", **{"validation-annotations-human-imagelabels-boxable.csv": labels}
    )

    assert read("openimages", tmp_path)["val"].records[0].absent == (1,)


def test_openimages_comes_back_with_absent_labels_and_scores(tmp_path):
    write_image(tmp_path / "a.png", 7, 9)
    box = Annotation((1, 1, 5, 5), 1, crowd=True, score=0.25)
    source = AnnotationSet(
        tmp_path,
        [Record(1, "a.png", (7, 9), (box,), absent=(3,))],
        dict(enumerate(("cat", "a, b", "dog"), start=1)),
    )

    FORMATS["openimages"].write({"val": source}, tmp_path / "written")
    back = read("openimages", tmp_path / "written")["val"]

    assert back.names == source.names
    assert back.records[0].absent == (3,)
    assert back.records[0].annotations[0].score == 0.25


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("0a,,/m/09,1,0,1,0,1,0,0,0", "label without a name"),
        ("0b,,/m/01,1,0,1,0,1,0,0,0", "missing image file"),
        ("0a,,/m/01,1,0.5,0.25,0,1,0,0,0", "inverted box"),
        ("0a,,/m/01,1,0.5,0.5,0,1,0,0,0", "box without area"),
        ("0a,,/m/01,1,0,2,0,1,0,0,0", "box clipped to its image"),
        ("0a,,/m/01,1,x,1,0,1,0,0,0", "box that is not four numbers"),
        ("0a,,/m/01,1,0.5", "box that is not four numbers"),
    ],
)
def test_each_fault_of_a_table_is_counted(tmp_path, row, kind):
    write_openimages(tmp_path, row + "\n")

    problems = read("openimages", tmp_path)["val"].problems

    assert {name: len(found) for name, found in problems.items()} == {kind: 1}


def test_tables_without_names_are_refused_with_the_file_that_lacks(tmp_path):
    write_openimages(tmp_path, "")
    (tmp_path / "class-descriptions-boxable.csv").unlink()

    with pytest.raises(ValueError, match=r"class-descriptions"):
        read("openimages", tmp_path)


# Pascal VOC


def voc_xml(objects: str, size: str = "<height>10</height><width>20</width>") -> str:
    return f"<annotation><filename>a.jpg</filename><size>{size}</size>{objects}</annotation>"


def voc_object(sides=(1, 1, 20, 10), name="cat", more="") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def write_voc(root: Path, objects: str, **keywords) -> Path:
    write_image(root / "JPEGImages/a.jpg", 10, 20)
    xml = voc_xml(objects, **keywords)
    return write_tree(root, {"Annotations/a.xml": xml, "ImageSets/Main/train.txt": "a\n"})


def test_a_voc_box_from_the_first_to_the_last_pixel_is_the_whole_image(tmp_path):
    write_voc(tmp_path, voc_object((1, 1, 20, 10)))

    assert boxes_of(read("voc", tmp_path)["train"]) == {"a.jpg": [("cat", (0, 0, 20, 10), False)]}


def test_a_voc_box_of_one_pixel_has_an_area(tmp_path):
    write_voc(tmp_path, voc_object((5, 5, 5, 5)))

    assert boxes_of(read("voc", tmp_path)["train"])["a.jpg"] == [("cat", (4, 4, 5, 5), False)]


def test_vocs_difficult_is_a_crowd(tmp_path):
    write_voc(tmp_path, voc_object(more="<difficult>1</difficult>"))

    assert read("voc", tmp_path)["train"].records[0].annotations[0].crowd


def test_parts_of_a_voc_object_are_no_boxes_of_their_own(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    write_voc(tmp_path, voc_object((2, 2, 5, 5), more=part))

    found = read("voc", tmp_path)["train"]

    assert boxes_of(found) == {"a.jpg": [("cat", (1, 1, 5, 5), False)]}
    assert found.unread == {"part": 1}


def test_a_box_written_as_voc_comes_back_to_the_last_digit(tmp_path):
    write_image(tmp_path / "a.png", 10, 10)
    box = (0.1 + 0.2, 1 / 3, 7.123456789012345, 10.0)
    record = Record(1, "a.png", (10, 10), (Annotation(box, 1),))

    FORMATS["voc"].write({"train": AnnotationSet(tmp_path, [record], NAMES)}, tmp_path / "written")

    assert read("voc", tmp_path / "written")["train"].records[0].annotations[0].box == box


def test_lists_of_one_category_are_no_splits(tmp_path):
    write_voc(tmp_path, voc_object())
    write_tree(tmp_path / "ImageSets/Main", {"cat_train.txt": "a  1\n", "trainval.txt": "a\n"})

    assert list(read("voc", tmp_path)) == ["train"]


def test_a_voc_folder_without_lists_is_the_split_all(tmp_path):
    write_voc(tmp_path, voc_object())
    (tmp_path / "ImageSets/Main/train.txt").unlink()

    assert len(read("voc", tmp_path)["all"].records) == 1


@pytest.mark.parametrize("size", ["", "<height>0</height><width>0</width>"])
def test_a_size_that_no_xml_tells_is_that_of_the_file(tmp_path, size):
    write_voc(tmp_path, voc_object(), size=size)

    assert read("voc", tmp_path)["train"].records[0].size == (10, 20)


@pytest.mark.parametrize(
    ("objects", "kind"),
    [
        (voc_object((5, 5, 4, 9)), "box without area"),
        (voc_object((5, 5, 3, 9)), "inverted box"),
        (voc_object((30, 5, 40, 9)), "box outside its image"),
        (voc_object(("", 5, 40, 9)), "box that is not four numbers"),
        (voc_object(("nan", 5, 40, 9)), "box that is not four numbers"),
        ("<object><name>cat</name></object>", "box that is not four numbers"),
        (voc_object(name=""), "box without a label"),
    ],
)
def test_each_fault_of_an_xml_is_counted(tmp_path, objects, kind):
    write_voc(tmp_path, objects)

    problems = read("voc", tmp_path)["train"].problems

    assert {name: len(found) for name, found in problems.items()} == {kind: 1}


@pytest.mark.parametrize("xml", ["<annotation>", "", "<a><size><height>nan</height></size></a>"])
def test_a_broken_xml_is_counted(tmp_path, xml):
    write_voc(tmp_path, "")
    (tmp_path / "Annotations/a.xml").write_text(xml)

    found = read("voc", tmp_path)["train"]

    assert list(found.problems) == ["picture without a readable XML"]
    assert found.records == []


def test_a_listed_picture_without_a_file_is_counted(tmp_path):
    write_voc(tmp_path, voc_object())
    (tmp_path / "JPEGImages/a.jpg").unlink()

    assert read("voc", tmp_path)["train"].problems == {"missing image file": ["a.jpg"]}


# YOLO


def write_yolo(root: Path, labels: str, description: str = "", image: str = "images/train") -> Path:
    write_image(root / image / "a.jpg", 10, 20)
    text = description or "train: images/train\nnames: [cat, dog]\n"
    label = image.replace("images", "labels") if "images" in image else image
    return write_tree(root, {"data.yaml": text, f"{label}/a.txt": labels})


def test_yolos_box_is_its_middle_and_sides(tmp_path):
    # The middle of 20 x 10 pixels is (10, 5); half of the width and all of the height.
    write_yolo(tmp_path, "1 0.5 0.5 0.5 1\n")

    assert detect_format(tmp_path).name == "yolo"
    assert boxes_of(read("yolo", tmp_path)["train"]) == {"a.jpg": [("dog", (5, 0, 15, 10), False)]}


@pytest.mark.parametrize(
    ("description", "image"),
    [
        ("path: .\ntrain: images/train\nnames: {0: cat, 1: dog}\n", "images/train"),
        ("path: /not/here\ntrain: images/train\nnames: [cat, dog]\n", "images/train"),
        (
            "train: ../train/images\nnames: [cat, dog]\nnc: 2\n",
            "train/images",
        ),
        ("train: [images/one, images/two]\nnames: [cat, dog]\n", "images/two"),
        ("train: list.txt\nnames: [cat, dog]\n", "images/train"),
    ],
)
def test_the_ways_to_name_yolos_images(tmp_path, description, image):
    write_yolo(tmp_path, "0 0.5 0.5 1 1\n", description, image)
    (tmp_path / "list.txt").write_text("./images/train/a.jpg\n")

    found = read("yolo", tmp_path)["train"]

    assert [len(record.annotations) for record in found.records] == [1]


def test_a_split_of_yolo_whose_images_are_not_there_is_a_problem(tmp_path):
    write_yolo(tmp_path, "", "train: images/train\nval: images/none\nnames: [cat]\n")

    assert read("yolo", tmp_path)["val"].problems == {
        "split whose images are not there": ["images/none"]
    }


def test_a_yolo_image_without_a_label_file_shows_nothing(tmp_path):
    write_yolo(tmp_path, "0 0.5 0.5 1 1\n")
    write_image(tmp_path / "images/train/b.jpg", 10, 20)

    found = read("yolo", tmp_path)["train"]

    assert [len(record.annotations) for record in found.records] == [1, 0]
    assert found.problems == {}


def test_labels_that_are_nowhere_are_a_problem(tmp_path):
    write_yolo(tmp_path, "")
    (tmp_path / "labels").rename(tmp_path / "label")

    assert read("yolo", tmp_path)["train"].problems == {
        "split without any label file, so that no image shows anything": ["../../labels/train"]
    }


def test_an_outline_becomes_the_box_around_it(tmp_path):
    write_yolo(tmp_path, "0 0.25 0.1 0.5 0.2 0.25 1\n")

    found = read("yolo", tmp_path)["train"]

    assert boxes_of(found) == {"a.jpg": [("cat", (5, 1, 10, 10), False)]}
    assert found.unread == {"segmentation": 1}


def test_key_points_are_no_outline(tmp_path):
    description = "train: images/train\nnames: [cat]\nkpt_shape: [1, 2]\n"
    write_yolo(tmp_path, "0 0.5 0.5 0.5 1 0.9 0.9\n", description)

    found = read("yolo", tmp_path)["train"]

    assert boxes_of(found) == {"a.jpg": [("cat", (5, 0, 15, 10), False)]}
    assert found.unread == {"keypoints": 1}


def test_a_sixth_number_is_a_score(tmp_path):
    write_yolo(tmp_path, "0 0.5 0.5 0.5 1 0.75\n")

    assert read("yolo", tmp_path)["train"].records[0].annotations[0].score == 0.75


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("2 0.5 0.5 0.5 1", "annotation of an unknown category"),
        ("0.5 0.5 0.5 0.5 1", "annotation of an unknown category"),
        ("0 0.5 0.5 0 1", "box without area"),
        ("0 0.5 0.5 -1 1", "inverted box"),
        ("0 1.5 0.5 0.5 1", "box outside its image"),
        ("0 0.9 0.5 0.5 1", "box clipped to its image"),
        ("0 0.5 0.5 0.5", "box that is not four numbers"),
        ("0 a b c d", "box that is not four numbers"),
        ("0 0.5 0.5 0.5 nan", "box that is not four numbers"),
    ],
)
def test_each_fault_of_a_label_is_counted_with_its_line(tmp_path, line, kind):
    write_yolo(tmp_path, f"\n{line}\n")

    assert read("yolo", tmp_path)["train"].problems == {kind: [f"line 2 of a.jpg: {line}"]}


def test_a_label_without_an_image_is_counted(tmp_path):
    write_yolo(tmp_path, "")
    write_tree(tmp_path, {"labels/train/b.txt": "0 0.5 0.5 1 1", "labels/train/classes.txt": "cat"})

    problems = read("yolo", tmp_path)["train"].problems

    assert problems == {"label file without an image": ["../../labels/train/b.txt"]}


def test_a_description_that_leads_nowhere_is_refused(tmp_path):
    write_tree(tmp_path, {"data.yaml": "train: images/train\nnames: [cat]\n"})

    with pytest.raises(ValueError, match=r"data\.yaml' leads to no image.*`path`"):
        read("yolo", tmp_path)


# Real data sets


@pytest.mark.parametrize("form", [*DETECTION, "odvg"])
@pytest.mark.parametrize(
    "name",
    [
        "microcontrollers",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("aquarium", "bccd", "coco_mini", "fruits", "pothole")
        ),
    ],
)
def test_a_real_set_goes_into_every_format_and_back(tmp_path, name, form):
    if not (DATASETS / name).is_dir():
        pytest.skip(f"the data set {name} is not beside this repository")
    source = read("coco", DATASETS / name)

    FORMATS[form].write(source, tmp_path / form)
    there = read(form, tmp_path / form)
    FORMATS["coco"].write(there, tmp_path / "back")
    back = read("coco", tmp_path / "back")

    holds_crowds = "crowd" in FORMATS[form].holds
    assert back.keys() == source.keys()
    for split, wanted in source.items():
        assert there[split].problems == back[split].problems == {}
        found = boxes_of(back[split])
        for file_name, boxes in boxes_of(wanted).items():
            assert [box[0] for box in found[file_name]] == [box[0] for box in boxes]
            for (_, box, crowd), (_, original, was_crowd) in zip(
                found[file_name], boxes, strict=True
            ):
                assert max(abs(a - b) for a, b in zip(box, original, strict=True)) < 0.01
                assert crowd == (was_crowd and holds_crowds)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "utf-32"])
def test_coco_in_any_encoding_of_json_is_seen_for_what_it_is(tmp_path, encoding):
    write_image(tmp_path / "images/a.jpg", 6, 8)
    images = [{"id": 1, "file_name": "a.jpg", "height": "6", "width": "8.0"}]
    box = {"id": 1, "image_id": "1", "category_id": 1, "bbox": [1, 1, 2, 2]}
    document = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "ü"}]}
    text = json.dumps(document, ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode(encoding))

    assert detect_format(tmp_path).name == "coco"
    assert FORMATS["coco"].read(tmp_path)["a"].records[0].size == (6, 8)


def test_openimages_tables_with_byte_order_marks_are_read(tmp_path):
    write_image(tmp_path / "train/a.jpg", 10, 20)
    names, table = "class-descriptions-boxable.csv", "train-annotations-bbox.csv"
    (tmp_path / names).write_text("\ufeffLabelName,DisplayName\n/m/1,Cat\n", encoding="utf-8")
    header = "\ufeffImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\r\n"
    (tmp_path / table).write_text(f"{header}a,,/m/1,1,0.1,0.5,0.2,0.8\r\n", encoding="utf-8")

    found = detect_format(tmp_path).read(tmp_path)["train"]

    assert (found.names, [len(r.annotations) for r in found.records]) == ({1: "Cat"}, [1])


def test_xml_in_capitals_is_told_as_what_is_missing(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/a.XML").write_text("<annotation/>")

    with pytest.raises(ValueError, match=r"end in \.XML; rename them"):
        detect_format(tmp_path)
