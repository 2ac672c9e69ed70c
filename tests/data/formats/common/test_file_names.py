import unicodedata

import pytest

from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.checks import OUTSIDE_FOLDER, UNSURE_FILE
from glip_pl.data.formats.common.file_names import FilesBelow, plain_name
from glip_pl.data.formats.common.paths import ImageFolder
from glip_pl.data.formats.common.records import Record


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("a/b.jpg", "a/b.jpg"),
        (r"a\b.jpg", "a/b.jpg"),
        (r".\a\b.jpg", "a/b.jpg"),
        ("a//b.jpg", "a/b.jpg"),
        ("a/../b.jpg", "b.jpg"),
        (r"..\a.jpg", "../a.jpg"),
        (r"C:\a\b.jpg", "/a/b.jpg"),
        ("/a/b.jpg", "/a/b.jpg"),
        ("file:///a/b.jpg", "/a/b.jpg"),
        ("https://host.org/a/b.jpg?size=1", "/a/b.jpg"),
        ("/data/local-files/?d=a/b.jpg", "a/b.jpg"),
        ("a:b.jpg", "a:b.jpg"),
    ],
)
def test_a_name_of_any_machine_is_written_plainly(written, plain):
    assert plain_name(written) == plain


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("a b.jpg", "a%20b.jpg"),
        ("a%20b.jpg", "a%20b.jpg"),
        ("1.JPG", "1.jpg"),
        ("Cam/1.jpg", "cam/1.JPG"),
        ("a.jpg", " a.jpg\n"),
        ("cam/1.png", "cam/1"),
        (unicodedata.normalize("NFD", "é.jpg"), unicodedata.normalize("NFC", "é.jpg")),
        (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")),
    ],
)
def test_a_file_is_found_in_the_letters_of_another_system(tmp_path, there, asked):
    touch(tmp_path, there)

    assert FilesBelow(tmp_path).find(asked) == there


def test_of_two_files_that_differ_in_capitals_only_the_named_one_is_found(tmp_path):
    touch(tmp_path, "a.jpg", "A.jpg")

    assert FilesBelow(tmp_path).find("A.jpg") == "A.jpg"
    assert FilesBelow(tmp_path).find("A.JPG") is None


def test_of_two_images_that_a_name_without_suffix_may_mean_none_is_found(tmp_path):
    touch(tmp_path, "a.jpg", "a.png")

    assert FilesBelow(tmp_path).find("a") is None


@pytest.mark.parametrize("name", ["../a.jpg", "x/../../a.jpg", "%2e%2e/a.jpg", "/a.jpg", "", "a\0"])
def test_nothing_outside_the_folder_is_found(tmp_path, name):
    touch(tmp_path, "a.jpg", "images/b.jpg")

    assert FilesBelow(tmp_path / "images").find(name) is None


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (["/home/me/images/1.jpg", "/home/me/images/2.jpg"], ["1.jpg", "2.jpg"]),
        ([r"C:\me\1.jpg", r"C:\me\2.jpg"], ["1.jpg", "2.jpg"]),
        ([r"..\images\1.jpg", "images/2.jpg"], ["1.jpg", "2.jpg"]),
        (["images/1.jpg", "2.jpg"], ["1.jpg", "2.jpg"]),
        (["/me/cam/3.jpg", "/me/1.jpg"], ["cam/3.jpg", "1.jpg"]),
        (["v1/patch/cam/3.jpg"], ["cam/3.jpg"]),
        (
            [r"..\..\images/2.jpg", "C:/me/set/images/cam/3.jpg", "/1.jpg"],
            ["2.jpg", "cam/3.jpg", "1.jpg"],
        ),
    ],
)
def test_names_with_the_folders_of_another_machine_are_found(tmp_path, written, found):
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "images/cam/3.jpg")
    problems = {}

    folder = ImageFolder.near(tmp_path / "train.json", written, problems)

    assert [(folder.path / folder.find(name)).name for name in written] == [
        name.rpartition("/")[2] for name in found
    ]
    assert problems == {}


def test_two_names_that_lead_to_one_file_are_left_out_both(tmp_path):
    touch(tmp_path, "images/1.jpg", "images/2.jpg")
    names = ["cam1/1.jpg", "cam2/1.jpg", "cam1/2.jpg"]
    problems = {}

    folder = ImageFolder.near(tmp_path / "train.json", names, problems)
    records = columns_of(Record(i, folder.find(n), (1, 1)) for i, n in enumerate(names))

    assert [r.file_name for r in folder.certain(records)] == ["2.jpg"]
    assert problems == {UNSURE_FILE: ["1.jpg", "1.jpg"]}


def test_a_file_that_lies_only_outside_is_named_as_that(tmp_path):
    touch(tmp_path, "secret.jpg", "images/1.jpg")
    problems = {}

    folder = ImageFolder(tmp_path / "images", problems)

    assert folder.find("../secret.jpg") is None
    assert problems == {OUTSIDE_FOLDER: ["../secret.jpg"]}
