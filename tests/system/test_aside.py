"""Files and folders that are whole or not there: two writers, full disks, places that are none."""

import errno
import os

import pytest
import torch
from disks import full_after
from safetensors.torch import save_file

from glip_pl.system.aside import file_aside, folder_aside, written_aside


def write_text(path):
    with written_aside(path) as file:
        file.write("x" * 5000)


def write_folder(path):
    with folder_aside(path) as folder:
        (folder / "a.txt").write_text("x" * 5000)


def write_tensors(path):
    with folder_aside(path) as folder:
        save_file({"a": torch.zeros(5000)}, folder / "a.safetensors")


def write_checkpoint(path):
    with file_aside(path) as part:
        torch.save({"a": torch.zeros(5000)}, part)


WRITERS = [write_text, write_folder, write_tensors, write_checkpoint]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_leaves_nothing_and_is_told(write, tmp_path):
    with full_after(1000), pytest.raises(ValueError, match=r"out' cannot be written .*make room"):
        write(tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", WRITERS)
def test_a_place_in_a_file_is_refused(write, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ValueError, match=r"file' is a file; name another place"):
        write(tmp_path / "file/in/out")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_place_that_may_not_be_written_is_told(number, tmp_path, monkeypatch):
    def closed(*_arguments, **_options):
        raise OSError(number, os.strerror(number), str(tmp_path / ".out.x1y2"))

    monkeypatch.setattr("tempfile.mkdtemp", closed)

    with pytest.raises(ValueError, match=r"out' cannot be written \(.*allow it, or name another"):
        write_folder(tmp_path / "out")


def test_what_is_wrong_with_another_file_is_not_blamed_on_the_disk(tmp_path):
    def read_elsewhere():
        with written_aside(tmp_path / "out"):
            raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/photo.jpg")

    with pytest.raises(PermissionError, match="photo"):
        read_elsewhere()


def test_of_two_who_write_a_file_the_last_one_stays(tmp_path):
    with written_aside(tmp_path / "out") as one, written_aside(tmp_path / "out") as other:
        one.write("one" * 5000)
        other.write("other")

    assert (tmp_path / "out").read_text() == "one" * 5000
    assert os.listdir(tmp_path) == ["out"]


def test_of_two_who_write_a_folder_the_first_one_stays(tmp_path):
    def write_both():
        with folder_aside(tmp_path / "out") as one:
            (one / "one").touch()
            write_folder(tmp_path / "out")

    with pytest.raises(ValueError, match="exists already"):
        write_both()

    assert os.listdir(tmp_path / "out") == ["a.txt"]
    assert os.listdir(tmp_path) == ["out"]
