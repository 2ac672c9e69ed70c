"""Fetching a data set as far as its licence allows, and telling what is left to do by hand.

What a set is, where it comes from and what it needs on disk stands in a YAML of its name. A file
that is complete is not fetched again, a broken download goes on where it stopped, and checksums are
compared: with those of the authors where they are known, else with those of the first download,
which .downloads.json in the data's folder keeps.
"""

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from rich.console import Console

from glip_pl.system.archives import is_archive, staging_of, unpack
from glip_pl.system.download import download, file_sha256

RECEIPT = ".downloads.json"
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Remote:
    """One file to fetch.

    Attributes:
        url: Where it is.
        gives: The file or folder that is there afterwards, below the root.
        to: Folder below the root that an archive is unpacked into.
        size: About how large it is, in words.
        sha256: What it must hash to, where the authors say so.
        md5: The same, where they use MD5.
    """

    url: str
    gives: str
    to: str = "."
    size: str = "unknown size"
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set and where it comes from.

    Attributes:
        title: Its name.
        about: What it is.
        licence: Under which licence its annotations and images are.
        page: Where to read about it.
        root: The folder that the YAML of the data set expects.
        needs: Files and folders below the root that a complete set has.
        files: What can be fetched.
        manual: What a person has to do, in this order.
    """

    title: str
    about: str
    licence: str
    page: str
    root: str
    needs: tuple[str, ...]
    files: tuple[Remote, ...] = ()
    manual: tuple[str, ...] = ()


def read_source(name: str, folder: Path) -> Source:
    """Read the description of a data set, NAME.yaml of a folder.

    Raises:
        ValueError: There is none of this name, or it is not what it should be.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? Choose" if close else "choose"
        raise ValueError(f"no data set {name!r} is described; {hint} one of {', '.join(known)}")
    held: dict[str, Any] = yaml.safe_load(path.read_text())
    try:
        held["files"] = tuple(Remote(**file) for file in held.get("files", ()))
        for key in ("needs", "manual"):
            held[key] = tuple(held.get(key, ()))
        return Source(**held)
    except TypeError as error:
        raise ValueError(f"{str(path)!r} does not describe a data set: {error}") from error


def fetch(source: Source, root: Path, console: Console) -> list[str]:
    """Describe a data set, fetch what can be fetched, and tell what is left.

    Returns:
        What is still missing below the root.

    Raises:
        ValueError: A download failed, or a file is not what it should be.
    """
    console.print(f"[bold]{source.title}[/bold]\n{source.about}", highlight=False)
    console.print(f"Licence: {source.licence}\nPage:    {source.page}\nFolder:  {root}")
    broken_off = any(_underway(remote, root) for remote in source.files)
    for remote in source.files if broken_off or _missing(source, root) else ():
        if is_complete(remote, root):
            console.print(f"  there    {remote.gives}", style="dim", highlight=False)
            continue
        console.print(f"  fetching {remote.url} ({remote.size})", highlight=False)
        _fetch(remote, root)
        console.print(f"  fetched  {remote.gives}", style="green", highlight=False)
    missing = _missing(source, root)
    if missing:
        console.print("Still missing: " + ", ".join(missing), style="yellow", highlight=False)
        for number, step in enumerate(source.manual, start=1):
            console.print(f"  {number}. {step}", highlight=False, markup=False)
    else:
        console.print("Everything is there.", style="green")
    return missing


def is_complete(remote: Remote, root: Path) -> bool:
    """Whether a file was fetched and unpacked before, here or by hand."""
    return (root / remote.gives).exists() and not _underway(remote, root)


def _underway(remote: Remote, root: Path) -> bool:
    """Whether an earlier call was broken off while it fetched or unpacked a file."""
    archive = root / _file_name(remote.url)
    traces = (
        archive,
        archive.with_name(archive.name + ".part"),
        staging_of(archive, root / remote.to),
    )
    return any(path.exists() for path in traces if path != root / remote.gives)


def _missing(source: Source, root: Path) -> list[str]:
    return [path for path in source.needs if not (root / path).exists()]


def _fetch(remote: Remote, root: Path) -> None:
    """Download one file, check it, unpack it if it is an archive, and note its checksum."""
    receipt = root / RECEIPT
    noted = _noted(receipt)
    target = root / _file_name(remote.url)
    if not target.is_file():
        expected = remote.sha256 or noted.get(remote.url, {}).get("sha256")
        download(remote.url, target, sha256=expected)
    if remote.md5 is not None and _md5(target) != remote.md5:
        target.unlink()
        raise ValueError(
            f"{remote.url} was damaged on the way or has changed: its MD5 is not {remote.md5}; it "
            "was removed, run the command again"
        )
    if (what := _not_meant(remote.url, target)) is not None:
        target.unlink()
        raise ValueError(
            f"{remote.url} sent {what} instead of the file, perhaps since it asks for a login; it "
            "was removed; open the address in a browser, and put what it gives at "
            f"{str(target)!r} by hand"
        )
    entry = {"sha256": file_sha256(target), "bytes": target.stat().st_size}
    if is_archive(target):
        unpack(target, root / remote.to)
        target.unlink()
    else:
        (root / remote.gives).parent.mkdir(parents=True, exist_ok=True)
        target.rename(root / remote.gives)
    if not (root / remote.gives).exists():
        raise ValueError(
            f"{remote.url} was fetched, but it did not hold {remote.gives}; compare "
            f"{str(root)!r} with {remote.url}"
        )
    receipt.write_text(json.dumps({**noted, remote.url: entry}, indent=2) + "\n")


def _noted(receipt: Path) -> dict[str, dict[str, Any]]:
    """Read what was noted of earlier downloads."""
    try:
        noted = json.loads(receipt.read_bytes()) if receipt.is_file() else {}
        return {str(url): dict(entry) for url, entry in noted.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{str(receipt)!r} is damaged ({type(error).__name__}), so that nobody knows whether a "
            "file has changed since it was fetched; remove it to trust what is fetched now"
        ) from error


def _not_meant(url: str, file: Path) -> str | None:
    """Return what came where a server answered with something else; None where it is as meant."""
    name = _file_name(url).lower()
    with file.open("rb") as opened:
        head = opened.read(1024).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")) and not name.endswith((".html", ".htm")):
        return "a web page"
    if name.endswith(_ARCHIVES) and not is_archive(file):
        return "no archive"
    return None


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
