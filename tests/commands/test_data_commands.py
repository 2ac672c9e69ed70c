import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import write_coco, write_image
from PIL import Image, ImageFile

from glip_pl.cli import main
from glip_pl.commands import data as commands
from glip_pl.data import sources
from glip_pl.data.formats import FORMATS
from glip_pl.data.formats.common import image_files
from glip_pl.inference import sheet as sheet_maker
from glip_pl.inference.visualize import PALETTE

NAMES = {1: "cat", 2: "hair drier"}
BOXES = {"a.png": [(1, (1, 2, 10, 20)), (2, (5, 5, 6, 7))], "b.png": []}


def run(*arguments: object) -> int:
    """Run `glip data` and give the exit status."""
    try:
        main(["data", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bomb(side: int = 20_000) -> bytes:
    """Write a square PNG that has a header and next to no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def spoil(path: Path, fault: str) -> None:
    """Put a fault into an image of 40 x 60 pixels."""
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    if fault == "empty image file":
        path.write_bytes(b"")
    elif fault == "unreadable image file":
        path.write_text("no image")
    elif fault == "truncated image file":
        pixels.save(path, "JPEG")
        path.write_bytes(path.read_bytes()[:-200])
    elif fault == "image of more than 100 megapixels":
        path.write_bytes(bomb())
    elif fault == "image whose record has another size":
        write_image(path, 41, 60)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # Turned by a quarter: upright it is 60 high and 40 wide.
        pixels.save(path, "JPEG", exif=exif)


FAULTS = (
    "empty image file",
    "unreadable image file",
    "truncated image file",
    "image of more than 100 megapixels",
    "image whose record has another size",
    "image that its EXIF orientation turns, and its record does not",
)


# Check


def test_a_check_counts_what_a_set_has(tmp_path, capsys):
    write_coco(tmp_path, BOXES, names=NAMES | {90: "dog"})

    status = run("check", tmp_path)

    told = capsys.readouterr().out
    assert status == 0
    assert "train: 2 images, 2 boxes\n  1 images without boxes\n" in told
    assert "3 categories, ids 1 to 90 with 87 gaps:\n    hair drier 1, cat 1, dog 0\n" in told
    assert "no problems" in told


@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_finds_what_is_wrong_with_an_image(tmp_path, capsys, fault):
    write_coco(tmp_path, BOXES, names=NAMES)
    spoil(tmp_path / "images/a.png", fault)

    status = run("check", tmp_path)

    assert status == 1
    assert f"\n  1 left out: {fault} (a.png" in capsys.readouterr().out


# Pillow itself refuses 20,000 x 20,000 pixels, and only warns of 10,001 x 10,001.
@pytest.mark.parametrize("side", [10_001, 20_000])
def test_the_pixels_of_an_enormous_image_are_never_decoded(tmp_path, capsys, monkeypatch, side):
    file = write_coco(tmp_path, {"a.png": []}, names=NAMES)
    document = json.loads(file.read_text())
    document["images"][0] |= {"height": side, "width": side}
    file.write_text(json.dumps(document))
    (tmp_path / "images/a.png").write_bytes(bomb(side))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))

    assert run("check", tmp_path) == 1
    assert "image of more than 100 megapixels (a.png)" in capsys.readouterr().out


def test_a_set_without_any_image_is_a_problem(tmp_path, capsys):
    write_coco(tmp_path, {}, names=NAMES)

    assert run("check", tmp_path) == 1
    assert "no usable image" in capsys.readouterr().out


def test_a_category_whose_name_says_nothing_is_a_problem(tmp_path, capsys):
    write_coco(tmp_path, BOXES, names=NAMES | {90: "_ "})

    assert run("check", tmp_path) == 1
    assert "category whose name says nothing (90: '_ ')" in capsys.readouterr().out


def test_a_file_with_a_byte_order_mark_is_read(tmp_path, capsys):
    file = write_coco(tmp_path, BOXES, names=NAMES)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert run("check", tmp_path) == 0
    assert "2 images, 2 boxes" in capsys.readouterr().out


def test_an_image_that_exif_turns_is_right_where_its_record_is_upright(tmp_path, capsys):
    write_coco(tmp_path, {"a.png": [(1, [2, 2, 9, 9])]}, names=NAMES, size=(60, 40))
    spoil(tmp_path / "images/a.png", "turned")

    assert run("check", tmp_path) == 0
    assert "1 images that EXIF turns or mirrors" in capsys.readouterr().out


def test_a_check_gives_the_reason_and_an_example_of_each_problem(tmp_path, capsys):
    boxes = {"a.png": [(1, (1, 1, 5, 0)), (1, (70, 1, 5, 5)), (1, (-5, 1, 9, 9))]}
    write_coco(tmp_path, boxes, names=NAMES)

    status = run("check", tmp_path)

    told = capsys.readouterr().out
    assert status == 1
    assert "1 left out: box without area (annotation 1 of image 1: [1, 1, 5, 0])" in told
    assert "1 left out: box outside its image (annotation 2 of image 1: [70, 1, 5, 5])" in told
    assert "1 to be corrected: box clipped to its image (annotation 3 of image 1" in told


def test_many_categories_are_shown_by_the_most_and_the_rarest(tmp_path, capsys):
    boxes = [(i, (1, 1, 5, 5)) for i in range(1, 30) for _ in range(i)]
    write_coco(tmp_path, {"a.png": boxes}, names={i: f"n{i}" for i in range(31)})

    run("check", tmp_path)

    told = capsys.readouterr().out
    assert "most: n29 29, n28 28," in told
    assert told.partition("rarest: ")[2].startswith("n10 10, ")
    assert "n2 2, n1 1\n    without a box: 2\n" in told


def test_a_set_to_train_on_without_any_box_is_a_problem(tmp_path, capsys):
    write_coco(tmp_path, {"a.png": []}, names=NAMES)

    assert run("check", tmp_path) == 1
    assert "no box, so that nothing can be learned from it" in capsys.readouterr().out


def test_training_is_not_advised_where_nothing_is_to_train_on(tmp_path, capsys):
    write_coco(tmp_path, BOXES, names=NAMES, file="val.json")

    assert run("check", tmp_path) == 0
    assert "next:" not in capsys.readouterr().out


def test_a_name_of_a_terminals_commands_is_written_out(tmp_path, capsys):
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 10, 20))]}, names={1: "\x1b[31mred\n" + "x" * 1000})

    run("check", tmp_path)

    said = capsys.readouterr().out
    assert r"\x1b[31mred\nxxx" in said
    assert max(map(len, said.splitlines())) < 200


def test_a_path_that_is_not_there_is_named(tmp_path, capsys):
    assert run("check", tmp_path / "none") == 2
    assert "there is no file or folder" in capsys.readouterr().err


def test_a_set_of_two_forms_needs_a_format(tmp_path, capsys):
    write_coco(tmp_path, BOXES, names=NAMES)
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")

    assert run("check", tmp_path) == 2
    assert "may be read as coco or yolo" in capsys.readouterr().err
    assert run("check", tmp_path, "--format=coco") == 0


def test_the_helps_name_every_format():
    readable, written = commands.check.__doc__, commands.convert.__doc__

    assert all(name in readable for name in FORMATS)
    read_only = {"coco_panoptic", "flickr30k", "masks"}
    assert {name for name in FORMATS if name not in written} == read_only


# Convert


def test_a_set_is_written_in_another_format(tmp_path, capsys):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)

    status = run("convert", tmp_path / "coco", tmp_path / "new/yolo", "--to=yolo")

    assert status == 0
    assert "train: 2 images, 2 boxes" in capsys.readouterr().out
    assert listed(tmp_path / "new/yolo") == ["data.yaml", "images", "labels"]
    found = FORMATS["yolo"].read(tmp_path / "new/yolo")["train"]
    assert [a.box for a in found.records[0].annotations] == [
        pytest.approx((1, 2, 11, 22)),
        pytest.approx((5, 5, 11, 12)),
    ]


def test_images_are_links_and_copies_where_there_can_be_none(tmp_path, monkeypatch):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)
    source = tmp_path / "coco/images/a.png"

    def refuse(*_):
        raise OSError("another disk")

    run("convert", tmp_path / "coco", tmp_path / "linked", "--to=voc")
    monkeypatch.setattr(os, "link", refuse)
    run("convert", tmp_path / "coco", tmp_path / "copied", "--to=voc")

    assert (tmp_path / "linked/JPEGImages/a.png").samefile(source)
    assert not (tmp_path / "copied/JPEGImages/a.png").samefile(source)
    assert (tmp_path / "copied/JPEGImages/a.png").read_bytes() == source.read_bytes()


@pytest.fixture
def faulty(tmp_path):
    """A set with a good image, one of every fault, and faulty boxes."""
    files = [f"{number}.png" for number in range(len(FAULTS))]
    boxes = {name: [(1, (1, 1, 5, 5))] for name in files}
    boxes["good.png"] = [(1, (1, 1, 5, 5)), (1, (1, 1, 5, 0)), (2, (-5, 1, 9, 9))]
    write_coco(tmp_path / "faulty", boxes, names=NAMES)
    for name, fault in zip(files, FAULTS, strict=True):
        spoil(tmp_path / "faulty/images" / name, fault)
    return tmp_path / "faulty"


@pytest.mark.parametrize("form", ["coco", "lvis", "openimages", "voc", "yolo"])
def test_what_a_conversion_writes_passes_the_check(faulty, tmp_path, form):
    assert run("convert", faulty, tmp_path / "new", f"--to={form}") == 0

    assert run("check", tmp_path / "new") == 0
    (record,) = FORMATS[form].read(tmp_path / "new")["train"].records
    assert record.file_name == "good.png"
    assert [a.box for a in record.annotations] == [
        pytest.approx((1, 1, 6, 6)),
        pytest.approx((0, 1, 4, 10)),
    ]


def test_what_is_left_out_is_listed_beside_the_new_set(faulty, tmp_path, capsys):
    run("convert", faulty, tmp_path / "new", "--to=yolo")

    quarantine = json.loads((tmp_path / "new/quarantine.json").read_text())
    left_out = quarantine["left out"]["train"]
    assert left_out.keys() == {*FAULTS, "box without area"}
    assert left_out["empty image file"] == ["0.png"]
    assert left_out["box without area"] == ["annotation 8 of image 7: [1, 1, 5, 0]"]
    assert quarantine["changed"]["train"] == {
        "box clipped to its image": ["annotation 9 of image 7: [-5, 1, 9, 9]"]
    }
    assert "quarantine.json" in capsys.readouterr().out


def test_nothing_is_quarantined_of_a_good_set(tmp_path):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)

    run("convert", tmp_path / "coco", tmp_path / "new", "--to=coco")

    assert listed(tmp_path / "new") == ["annotations", "images"]


def test_strict_refuses_a_faulty_set_and_writes_nothing(faulty, tmp_path, capsys):
    status = run("convert", faulty, tmp_path / "new", "--to=yolo", "--strict")

    assert status == 2
    assert "1 left out: empty image file (0.png)" in capsys.readouterr().err
    assert listed(tmp_path) == ["faulty"]


def test_what_the_new_format_cannot_hold_is_told_and_refused_by_strict(tmp_path, capsys):
    file = write_coco(tmp_path / "coco", BOXES, names=NAMES)
    document = json.loads(file.read_text())
    document["annotations"][0] |= {"iscrowd": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}
    file.write_text(json.dumps(document))

    strict = run("convert", tmp_path / "coco", tmp_path / "new", "--to=yolo", "--strict")
    lenient = run("convert", tmp_path / "coco", tmp_path / "new", "--to=yolo")

    told = capsys.readouterr()
    assert (strict, lenient) == (2, 0)
    for text in told:
        assert "yolo cannot hold that 1 boxes are around crowds" in text
        assert "not read, so not written: segmentation (1 times)" in text


def test_a_target_that_exists_is_left_alone(tmp_path, capsys):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)
    (tmp_path / "new").mkdir()

    assert run("convert", tmp_path / "coco", tmp_path / "new", "--to=yolo") == 2
    assert "exists already" in capsys.readouterr().err
    assert listed(tmp_path / "new") == []


@pytest.mark.parametrize(("stop", "ended"), [(KeyboardInterrupt, SystemExit), (OSError, OSError)])
def test_an_interrupted_conversion_leaves_nothing(tmp_path, monkeypatch, stop, ended):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)

    def broken(*_):
        raise stop

    monkeypatch.setattr("glip_pl.data.formats.yolo.yolo.label_line", broken)
    with pytest.raises(ended):
        main(["data", "convert", str(tmp_path / "coco"), str(tmp_path / "new"), "--to=yolo"])

    assert listed(tmp_path) == ["coco"]


def test_a_set_without_a_usable_image_is_refused(tmp_path, capsys):
    write_coco(tmp_path / "coco", {"a.png": []}, names=NAMES)
    (tmp_path / "coco/images/a.png").unlink()

    assert run("convert", tmp_path / "coco", tmp_path / "new", "--to=yolo") == 2
    assert "1 left out: missing image file (a.png)" in capsys.readouterr().err


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path, capsys):
    assert run("convert", tmp_path, tmp_path / "new", "--to=yollo") == 2
    assert "name one of coco, coco_panoptic, lvis" in capsys.readouterr().err


def test_the_source_may_be_named_where_two_forms_fit(tmp_path):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)
    (tmp_path / "coco/data.yaml").write_text("train: images\nnames: [cat]\n")

    assert run("convert", tmp_path / "coco", tmp_path / "a", "--to=voc") == 2
    assert run("convert", tmp_path / "coco", tmp_path / "a", "--to=voc", "--from=coco") == 0


def test_an_image_in_a_tar_file_becomes_a_file_again(tmp_path):
    write_coco(tmp_path / "coco", BOXES, names=NAMES)

    run("convert", tmp_path / "coco", tmp_path / "tar", "--to=webdataset")
    status = run("convert", tmp_path / "tar", tmp_path / "new", "--to=coco")

    assert status == 0
    found = FORMATS["coco"].read(tmp_path / "new")["train"]
    source = (tmp_path / "coco/images/a.png").read_bytes()
    assert (found.images / found.records[0].file_name).read_bytes() == source


def test_one_name_in_two_tar_files_is_two_files(tmp_path):
    sets = {}
    for split in ("train", "val"):
        write_coco(tmp_path / split, {f"{split}.png": []}, names=NAMES)
        sets |= {split: FORMATS["coco"].read(tmp_path / split)["train"]}
    FORMATS["webdataset"].write(sets, tmp_path / "tar")

    placed = image_files.place_images(
        FORMATS["webdataset"].read(tmp_path / "tar"), tmp_path / "new"
    )

    for split in ("train", "val"):
        (record,) = placed[split].records
        wanted = (tmp_path / split / f"images/{split}.png").read_bytes()
        assert (tmp_path / "new" / record.file_name).read_bytes() == wanted


# Show


def test_a_sheet_shows_boxes_in_the_colours_of_their_categories(tmp_path):
    write_coco(tmp_path, {"a.png": [(2, (10, 10, 30, 20))]}, names=NAMES, size=(40, 60))

    assert run("show", tmp_path, f"--output={tmp_path}/new/sheet.png") == 0

    sheet = np.asarray(Image.open(tmp_path / "new/sheet.png"))
    # 60 pixels become 480, and the sheet has a border of 12.
    assert tuple(sheet[12 + 30 * 8 - 1, 12 + 25 * 8]) == PALETTE[1]
    assert tuple(sheet[12 + 20 * 8, 12 + 10 * 8]) == PALETTE[1]


def test_a_sheet_has_the_asked_samples_and_those_with_boxes_first(tmp_path, capsys, monkeypatch):
    boxes = {f"{n}.png": [(1, (1, 1, 5, 5))] if n % 2 else [] for n in range(8)}
    write_coco(tmp_path, boxes, names=NAMES)
    drawn = []
    original = sheet_maker.picture_of
    monkeypatch.setattr(
        sheet_maker, "picture_of", lambda s, r: drawn.append(r.file_name) or original(s, r)
    )

    run("show", tmp_path, f"--output={tmp_path}/sheet.png", "--count=4", "--seed=3")
    first, drawn[:] = list(drawn), []
    run("show", tmp_path, f"--output={tmp_path}/sheet.png", "--count=4", "--seed=3")

    assert sorted(first) == ["1.png", "3.png", "5.png", "7.png"]
    assert drawn == first
    assert "4 samples of train" in capsys.readouterr().out


def test_a_broken_image_is_passed_over_by_a_sheet(tmp_path, capsys):
    write_coco(tmp_path, {"a.png": [], "b.png": []}, names=NAMES)
    spoil(tmp_path / "images/a.png", "unreadable image file")

    assert run("show", tmp_path, f"--output={tmp_path}/sheet.png") == 0
    assert "1 samples of train" in capsys.readouterr().out


def test_an_unknown_split_is_answered_with_the_known_ones(tmp_path, capsys):
    write_coco(tmp_path, BOXES, names=NAMES)

    assert run("show", tmp_path, "--split=test") == 2
    assert "no split 'test'; --split is one of train" in capsys.readouterr().err


def test_check_counts_an_image_of_more_boxes_than_training_takes(tmp_path, capsys, monkeypatch):
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))] * 3, "b.png": []}, names={1: "cat"})
    monkeypatch.setattr(sources, "MOST_BOXES", 2)

    with pytest.raises(SystemExit):
        main(["data", "check", str(tmp_path)])

    told = capsys.readouterr().out
    assert "1 left out: image with more than" in told
    assert "a.png: 3 boxes" in told
