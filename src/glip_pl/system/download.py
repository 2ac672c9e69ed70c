"""Download a large file: with progress, resumed after an interruption, checked at the end."""

import hashlib
import http.client
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_CHUNK = 2**20
_TIMEOUT_S = 30


def download(url: str, target: Path, *, sha256: str | None = None) -> None:
    """Write what a URL holds to a file, which is whole or not there.

    What arrived before an interruption stays beside the target, with the suffix ``.part``, and the
    next call goes on from there.

    Args:
        url: Where the file is.
        target: The file to write; its folder is made.
        sha256: What the file must hash to.

    Raises:
        ValueError: The server cannot be reached or has no such file, the connection broke, or the
            file is not what it should be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        _fetch(url, part)
    except (HTTPError, URLError, http.client.HTTPException, OSError) as error:
        kept = part.stat().st_size if part.exists() else 0
        raise ValueError(
            f"{url} cannot be downloaded ({error}); {kept} bytes of it are kept in {str(part)!r}, "
            "run the command again to go on, or put the file at "
            f"{str(target)!r} by hand"
        ) from error
    if sha256 is not None and file_sha256(part) != sha256:
        part.unlink()
        raise ValueError(
            f"{url} was damaged on the way or has changed: its SHA-256 is not {sha256}; what "
            "arrived was removed, run the command again"
        )
    part.rename(target)


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, part: Path) -> None:
    """Append to `part` what it still lacks."""
    # Needed here alone, and slow to import.
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(request, timeout=_TIMEOUT_S)
    except HTTPError as error:
        if start and error.code == 416:  # Nothing is left to ask for.
            return
        raise
    with response:
        if response.status != 206:
            start = 0  # This server sends the file from the beginning only.
        left = response.headers.get("Content-Length")
        total = start + int(left) if left is not None else None
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with (
            part.open("ab" if start else "wb") as file,
            Progress(*columns, TransferSpeedColumn(), transient=True) as progress,
        ):
            task = progress.add_task(part.name.removesuffix(".part"), total=total, completed=start)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise URLError(f"the connection broke after {part.stat().st_size} of {total} bytes")
