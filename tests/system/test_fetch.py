import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile

import pytest
import yaml
from helpers import ROOT
from rich.console import Console

from glip_pl.configs.names import data_folder
from glip_pl.system.download import file_sha256
from glip_pl.system.fetch import RECEIPT, Remote, Source, fetch, is_complete, read_source

SOURCES = data_folder() / "sources"

NAMES = sorted(path.stem for path in SOURCES.glob("*.yaml"))
TRAINED_ON = sorted({path.stem for path in SOURCES.parent.glob("*.yaml")} & set(NAMES))


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), width=200)


def zipped(**files):
    """The bytes of a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def source(*files, needs=("data/a.json",), manual=()):
    return Source(
        "Cats", "Photos of cats.", "CC BY 4.0", "https://example.org", "x", needs, files, manual
    )


def remote(server, gives="data/a.json", path="cats.zip", **options):
    return Remote(f"{server.url}/{path}", gives, **options)


def test_an_archive_is_fetched_and_unpacked(server, tmp_path, screen):
    server.content = zipped(**{"data/a.json": "{}"})

    missing = fetch(source(remote(server)), tmp_path, screen)

    assert missing == []
    assert (tmp_path / "data/a.json").read_text() == "{}"
    assert {path.name for path in tmp_path.iterdir()} == {"data", RECEIPT}
    assert "Everything is there" in screen.file.getvalue()


def test_an_archive_is_unpacked_where_it_belongs(server, tmp_path, screen):
    server.content = zipped(**{"a.json": "{}"})

    fetch(source(remote(server, to="data")), tmp_path, screen)

    assert (tmp_path / "data/a.json").exists()


def test_a_plain_file_is_put_into_its_place(server, tmp_path, screen):
    fetch(source(remote(server, path="get/a%2B.json", gives="data/a.json")), tmp_path, screen)

    assert (tmp_path / "data/a.json").read_bytes() == server.content
    assert server.asked == ["/get/a%2B.json"]


def test_what_is_there_is_not_fetched_again(server, tmp_path, screen):
    server.content = zipped(**{"data/a.json": "{}"})
    needed = source(remote(server), needs=("data/a.json", "more"))
    fetch(needed, tmp_path, screen)

    fetch(needed, tmp_path, screen)

    assert server.asked == ["/cats.zip"]


def test_nothing_is_fetched_where_all_was_put_by_hand(server, tmp_path, screen):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.json").write_text("{}")

    missing = fetch(source(remote(server, gives="leftover")), tmp_path, screen)

    assert missing == server.asked == []


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, screen):
    server.content = zipped(**{"data/a.json": "{}" * 1000})
    server.breaks_after = 50
    with pytest.raises(ValueError, match="cannot be downloaded"):
        fetch(source(remote(server)), tmp_path, screen)

    assert fetch(source(remote(server)), tmp_path, screen) == []
    assert server.asked == ["/cats.zip", "/cats.zip bytes=50-"]


def test_an_archive_that_was_not_unpacked_to_the_end_is_unpacked_again(server, tmp_path, screen):
    (tmp_path / "cats.zip").write_bytes(zipped(**{"data/a.json": "whole", "data/b.json": "b"}))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.json").write_text("half")

    fetch(source(remote(server)), tmp_path, screen)

    assert (tmp_path / "data/a.json").read_text() == "whole"
    assert (tmp_path / "data/b.json").exists()
    assert server.asked == []


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_with_another_checksum_is_refused(server, tmp_path, screen, kind):
    wrong = {kind: "0" * (32 if kind == "md5" else 64)}

    with pytest.raises(ValueError, match=f"its {'MD5' if kind == 'md5' else 'SHA-256'} is not 000"):
        fetch(source(remote(server, **wrong)), tmp_path, screen)

    assert list(tmp_path.iterdir()) == []


def test_a_file_with_the_right_checksum_is_taken(server, tmp_path, screen):
    right = hashlib.md5(server.content).hexdigest()

    assert fetch(source(remote(server, path="a.json", md5=right)), tmp_path, screen) == []


def test_the_first_download_records_the_checksum_that_later_ones_must_have(
    server, tmp_path, screen
):
    fetch(source(remote(server, path="a.json")), tmp_path, screen)
    noted = json.loads((tmp_path / RECEIPT).read_text())[f"{server.url}/a.json"]
    assert noted["sha256"] == file_sha256(tmp_path / "data/a.json")
    (tmp_path / "data/a.json").unlink()
    server.content = b"something else"

    with pytest.raises(ValueError, match="was damaged on the way or has changed"):
        fetch(source(remote(server, path="a.json")), tmp_path, screen)


def test_an_archive_without_what_it_should_give_is_told(server, tmp_path, screen):
    server.content = zipped(**{"other.json": "{}"})

    with pytest.raises(ValueError, match=r"it did not hold data/a.json"):
        fetch(source(remote(server)), tmp_path, screen)


def test_a_malicious_archive_writes_nothing_outside(server, tmp_path, screen):
    server.content = zipped(**{"../evil.txt": "evil", "data/a.json": "{}"})

    with pytest.raises(ValueError, match="leads out of the folder"):
        fetch(source(remote(server)), tmp_path / "root", screen)

    assert not (tmp_path / "evil.txt").exists()
    assert not (tmp_path / "root/data").exists()


def test_manual_steps_are_printed_with_what_is_missing(tmp_path, screen):
    missing = fetch(source(manual=("Ask for it.", "Unpack it.")), tmp_path, screen)

    shown = screen.file.getvalue()
    assert missing == ["data/a.json"]
    assert "Still missing: data/a.json" in shown
    assert "1. Ask for it." in shown
    assert "2. Unpack it." in shown
    assert "CC BY 4.0" in shown


def test_a_file_in_the_making_is_not_complete(tmp_path):
    file = Remote("http://example.org/cats.zip", "data")
    (tmp_path / "data").mkdir()
    assert is_complete(file, tmp_path)

    (tmp_path / "cats.zip.part").touch()

    assert not is_complete(file, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_description_is_complete(name):
    described = read_source(name, SOURCES)

    assert described.page.startswith("https://") or name == "voc"
    assert described.licence
    assert described.about.endswith(".")
    assert described.needs
    for file in described.files:
        assert file.url.startswith("http")
        assert len(file.md5 or "0" * 32) == 32
        assert len(file.sha256 or "0" * 64) == 64
    # What no download gives, a person is told to get.
    gives = [file.gives for file in described.files]
    by_hand = [need for need in described.needs if not any(_has(given, need) for given in gives)]
    assert described.manual or set(by_hand) <= {"annotations/instances_train2017.json"}


def _has(given, need):
    return need == given or need.startswith(f"{given}/")


@pytest.mark.parametrize(
    "name", sorted({p.stem for p in (ROOT / "data").glob("*.yaml")} & {*NAMES})
)
def test_a_description_and_the_data_set_mean_the_same_folder(name):
    options = yaml.safe_load((ROOT / f"data/{name}.yaml").read_text())["data"]
    described = read_source(name, SOURCES)

    assert described.root == options["root"]
    named = [entry["init_args"]["annotations"] for entry in options["train"]]
    assert set(named) <= set(described.needs)


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no data set 'cocoo' is described.*aquarium, bccd"):
        read_source("cocoo", SOURCES)


def test_a_wrong_description_is_refused(tmp_path):
    (tmp_path / "cats.yaml").write_text("title: Cats\nlicense: MIT\n")

    with pytest.raises(ValueError, match=r"cats.yaml' does not describe a data set.*license"):
        read_source("cats", tmp_path)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "glip_pl", "data", "fetch", *arguments],
        capture_output=True,
        text=True,
        check=False,
        # Nothing answers there, so no request leaves this machine.
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
    )


def test_without_a_network_the_command_fails_with_a_clear_word(tmp_path):
    done = run("coco", f"--root={tmp_path}")

    assert done.returncode == 2
    assert "cannot be downloaded" in done.stderr
    assert "run the command again to go on" in done.stderr


def test_what_is_left_to_do_by_hand_is_an_unfinished_command(tmp_path):
    done = run("d3", f"--root={tmp_path}")

    assert done.returncode == 1
    assert "Still missing: d3/d3_images" in done.stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>Log in</html>", "a web page"),
        (b"\n <html><body>quota exceeded", "a web page"),
        (b"not an archive", "no archive"),
    ],
)
def test_a_page_instead_of_an_archive_is_told(server, tmp_path, screen, content, told):
    server.content = content

    with pytest.raises(ValueError, match=f"sent {told} instead of the file"):
        fetch(source(remote(server)), tmp_path, screen)

    assert not (tmp_path / "cats.zip").exists()


@pytest.mark.parametrize("content", ["[", "[]", '{"a": 1}', "[" * 100_000])
def test_a_damaged_list_of_downloads_is_named(server, tmp_path, screen, content):
    server.content = zipped(**{"data/a.json": "{}"})
    (tmp_path / RECEIPT).write_text(content)

    with pytest.raises(ValueError, match=r"downloads\.json' is damaged"):
        fetch(source(remote(server)), tmp_path, screen)
