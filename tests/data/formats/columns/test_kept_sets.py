"""Sets that are kept: taken while nothing changed, read again when anything did."""

import errno
import json
import os
import shutil
import threading
import time
from dataclasses import replace

import pytest
from PIL import Image

from glip_pl.data.formats import FORMATS, AnnotationSet
from glip_pl.data.formats.coco import coco
from glip_pl.data.formats.columns import kept
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.columns.kept import kept_set


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep sets of any size in a folder of the test."""
    monkeypatch.setenv("GLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SMALL", 0)
    return tmp_path / "cache" / "columns"


@pytest.fixture
def reads(monkeypatch):
    """Count how often a file is read."""
    count = list[str]()

    def counted(file):
        count.append(str(file))
        return read_document(file)

    read_document = coco.read_document
    monkeypatch.setattr(coco, "read_document", counted)
    return count


@pytest.fixture
def file(tmp_path):
    """Write a set of two images, a box of each, and one that is wrong."""
    (tmp_path / "images").mkdir()
    for name in ("1.png", "é.png"):
        Image.new("RGB", (12, 10)).save(tmp_path / "images" / name)
        os.utime(tmp_path / "images", (1e9, 1e9))
    boxes = [(1, [1, 1, 3, 3]), (2, [2, 2, 30, 3]), (2, [2, 2, -1, 3])]
    document = {
        "images": [
            {"id": i, "file_name": name, "height": 10, "width": 12}
            for i, name in enumerate(("1.png", "é.png"), start=1)
        ],
        "annotations": [
            {"id": i, "image_id": image, "category_id": 3, "bbox": bbox, "segmentation": [[1]]}
            for i, (image, bbox) in enumerate(boxes)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    return tmp_path / "a.json"


def read(file) -> AnnotationSet:
    return FORMATS["coco"].read(file)["all"]


def test_a_set_is_read_once_and_taken_as_it_was(file, reads):
    first, second = read(file), read(file)

    assert len(reads) == 1
    assert list(second.records) == list(first.records)
    assert replace(second, records=[]) == replace(first, records=[])
    assert [len(record.annotations) for record in second.records] == [1, 1]
    assert set(second.problems) == {"box clipped to its image", "inverted box"}


def test_a_file_of_another_content_is_read_again(file, reads, cache):
    read(file)
    file.write_text(file.read_text().replace('"cat"', '"cow"'))

    assert read(file).names == {3: "cow", 5: "dog"}
    assert len(reads) == 2
    assert len(list(cache.glob("*-*"))) == 1  # What was kept before is gone.


def test_a_file_of_another_time_and_the_same_content_is_taken(file, reads):
    read(file)
    os.utime(file, (1, 1))
    read(file)
    read(file)

    assert len(reads) == 1


def test_an_image_that_went_is_missed(file, reads):
    read(file)
    (file.parent / "images" / "1.png").unlink()
    found = read(file)

    assert found.problems["missing image file"] == ["1.png"]
    assert len(reads) == 2


def test_an_image_that_came_is_found(file):
    (file.parent / "images" / "1.png").rename(file.parent / "1.png")
    assert len(read(file).records) == 1
    (file.parent / "1.png").rename(file.parent / "images" / "1.png")

    assert len(read(file).records) == 2


@pytest.mark.parametrize("name", ["box.npy", "name.npy", "contents.json", "set.json"])
@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_what_is_damaged_is_read_again(file, reads, cache, name, damage):
    read(file)
    (place,) = cache.glob("*-*")
    if damage is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(damage)

    assert [len(record.annotations) for record in read(file).records] == [1, 1]
    assert len(reads) == 2


@pytest.mark.parametrize("name", ["box.npy", "name.npy", "contents.json", "set.json"])
def test_one_byte_that_was_flipped_is_noticed(file, reads, cache, name):
    read(file)
    (damaged,) = cache.rglob(name)
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)

    assert read(file).records[0].file_name == "1.png"
    assert len(reads) == 2


def test_what_another_version_kept_is_read_again(file, reads, monkeypatch):
    read(file)
    monkeypatch.setattr(kept, "_VERSION", "another")
    read(file)

    assert len(reads) == 2


def test_other_folders_of_images_are_other_sets(file, reads):
    read(file)
    shutil.move(file.parent / "images", file.parent / "val2017")
    file.rename(file.with_name("val.json"))

    assert read(file.with_name("val.json")).images == file.parent / "val2017"
    assert len(reads) == 2


def test_small_files_are_not_kept(file, cache, monkeypatch):
    monkeypatch.setattr(kept, "SMALL", 1 << 20)
    read(file)

    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_told_and_done_without(file, caplog, tmp_path):
    (tmp_path / "cache").write_text("a file is no folder")
    found = read(file)

    assert len(found.records) == 2
    assert "set GLIP_CACHE to a folder that can" in caplog.text


def test_a_full_disk_ends_in_one_line(file):
    def full(place):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ValueError, match=r"No space left on device; make room there, or set GLIP_"):
        kept_set(file, "", full)


def test_a_file_that_cannot_be_read_leaves_nothing(file, cache):
    file.write_text(file.read_text()[:-20])

    with pytest.raises(ValueError, match="cannot read the annotation file"):
        read(file)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_what_a_killed_process_left_is_removed(file, cache):
    read(file)
    (place,) = cache.glob("*-*")
    rest = cache / f".{place.name.partition('-')[0]}.abc"
    place.rename(rest)
    read(file)

    assert not rest.exists()


def test_of_two_at_once_one_reads_and_the_other_waits(file):
    count = list[int]()
    found = list[AnnotationSet]()
    held = read(file)

    def slow(place):
        count.append(1)
        time.sleep(0.1)
        builder = ColumnsBuilder(place)
        builder.add(held.records)
        return replace(held, records=builder.finish()), "digest"

    threads = [
        threading.Thread(target=lambda: found.append(kept_set(file, "twice", slow)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(count) == 1
    assert [list(f.records) for f in found] == [list(held.records)] * 2


def test_captions_are_kept_without_those_that_lost_their_boxes(file):
    document = json.loads(file.read_text())
    for entry in document["images"]:
        entry["caption"] = "a cat"
    for entry in document["annotations"]:
        # The second image's links all point past its caption.
        entry["tokens_positive"] = [[2, 5]] if entry["image_id"] == 1 else [[2, 50]]
    file.write_text(json.dumps(document))
    first, second = (FORMATS["mdetr"].read(file)["all"] for _ in range(2))

    assert [record.image_id for record in second.records] == [1]
    assert second.records[0].annotations[0].tokens_positive == ((2, 5),)
    assert list(second.records) == list(first.records)
    assert second.problems == first.problems
