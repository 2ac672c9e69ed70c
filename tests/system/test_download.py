import hashlib

import pytest

from glip_pl.system.download import download


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_a_file_arrives_whole(server, tmp_path):
    download(f"{server.url}/a", tmp_path / "new" / "a", sha256=digest(server.content))

    assert (tmp_path / "new" / "a").read_bytes() == server.content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.breaks_after = 4000

    with pytest.raises(ValueError, match=r"4000 bytes of it are kept .* run the command again"):
        download(f"{server.url}/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    download(f"{server.url}/a", tmp_path / "a", sha256=digest(server.content))

    assert (tmp_path / "a").read_bytes() == server.content
    assert server.asked == ["/a", "/a bytes=4000-"]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.part").write_bytes(b"something")

    download(f"{server.url}/a", tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == server.content


def test_a_part_that_is_complete_is_taken(server, tmp_path):
    (tmp_path / "a.part").write_bytes(server.content)

    download(f"{server.url}/a", tmp_path / "a", sha256=digest(server.content))

    assert (tmp_path / "a").read_bytes() == server.content


def test_a_damaged_file_is_refused_and_removed(server, tmp_path):
    with pytest.raises(ValueError, match=r"its SHA-256 is not 000"):
        download(f"{server.url}/a", tmp_path / "a", sha256="0" * 64)

    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9/a cannot be downloaded .*refused"):
        download("http://127.0.0.1:9/a", tmp_path / "a")
