import io
import shutil
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from glip_pl.system.archives import is_archive, staging_of, unpack


def write_zip(path, **files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, *members, mode="w:gz"):
    """Write a tar file of (name, type, link or content)."""
    with tarfile.open(path, mode) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                archive.addfile(info)
    return path


def everything(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_zip_is_unpacked_beside_what_is_there(tmp_path):
    archive = write_zip(tmp_path / "a.zip", **{"new/one.txt": "1", "old/two.txt": "2"})
    target = tmp_path / "target"
    (target / "old").mkdir(parents=True)
    (target / "old/kept.txt").write_text("kept")

    unpack(archive, target)

    assert everything(target) == {"new/one.txt": "1", "old/two.txt": "2", "old/kept.txt": "kept"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_file_of_any_compression_is_unpacked(tmp_path, mode):
    member = ("data/one.txt", tarfile.REGTYPE, b"1")
    archive = write_tar(tmp_path / "a.tar", ("data", tarfile.DIRTYPE, ""), member, mode=mode)

    unpack(archive, tmp_path / "target")

    assert everything(tmp_path / "target") == {"data/one.txt": "1"}


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt"]
)
def test_a_zip_that_leads_out_of_the_folder_writes_nothing(tmp_path, name):
    archive = write_zip(tmp_path / "a.zip", **{"good.txt": "good", name: "evil"})
    target = tmp_path / "target"

    with pytest.raises(ValueError, match="leads out of the folder; nothing was unpacked"):
        unpack(archive, target)

    assert everything(target) == {}
    assert not (tmp_path / "evil.txt").exists()


def test_a_tar_file_that_leads_out_of_the_folder_writes_nothing(tmp_path):
    members = [(name, tarfile.REGTYPE, b"x") for name in ("good.txt", "../evil.txt")]
    archive = write_tar(tmp_path / "a.tgz", *members)

    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack(archive, tmp_path / "target")

    assert everything(tmp_path / "target") == {}
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    members = ("way", kind, str(outside)), ("way/evil.txt", tarfile.REGTYPE, b"evil")
    archive = write_tar(tmp_path / "a.tgz", *members)

    with pytest.raises(ValueError, match=r"'way', which is a link or a device"):
        unpack(archive, tmp_path / "target")

    assert everything(outside) == {}


def test_a_link_in_a_zip_becomes_a_file_with_its_text(tmp_path):
    info = zipfile.ZipInfo("way")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc")

    unpack(tmp_path / "a.zip", tmp_path / "target")

    assert not (tmp_path / "target/way").is_symlink()


def test_a_damaged_archive_is_named(tmp_path):
    archive = write_zip(tmp_path / "a.zip", **{"one.txt": "1" * 100})
    archive.write_bytes(archive.read_bytes().replace(b"1111", b"2222"))

    with pytest.raises(ValueError, match=r"a.zip' cannot be unpacked .*fetch it again"):
        unpack(archive, tmp_path / "target")

    assert list((tmp_path / "target").iterdir()) == []


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_written(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "a.zip", **{"one.txt": "1" * 100})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=99))

    with pytest.raises(ValueError, match=r"make room, or name another folder"):
        unpack(archive, tmp_path / "target")

    assert everything(tmp_path / "target") == {}


def test_what_an_interruption_left_is_taken_away(tmp_path):
    archive = write_zip(tmp_path / "a.zip", **{"one.txt": "1"})
    target = tmp_path / "target"
    staging_of(archive, target).mkdir(parents=True)
    (staging_of(archive, target) / "half.txt").write_text("half")

    unpack(archive, target)

    assert everything(target) == {"one.txt": "1"}


def test_archives_are_known_by_their_content(tmp_path):
    (tmp_path / "fake.zip").write_text("no zip")

    assert not is_archive(tmp_path / "fake.zip")
    assert is_archive(write_zip(tmp_path / "real.bin", a="1"))


def test_an_encrypted_zip_is_told(tmp_path):
    write_zip(tmp_path / "a.zip", a="text")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[6] |= 1  # The flags of the file's own header, and of the list at the end.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)

    with pytest.raises(ValueError, match=r"a\.zip' is encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "to")
