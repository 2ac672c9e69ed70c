r"""Files by the names that annotations of anyone give them.

A name may come from another machine ("C:\photos\a.jpg"), from a server
("/data/local-files/?d=photos/a%20b.jpg"), or from a system that writes "é" in two characters or
does not tell "A.JPG" from "a.jpg". Nothing outside the folder of a set is ever opened.
"""

import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

# Most names of a set: steps of letters, digits, "_", "-" and later dots.
_PLAIN = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")
_SERVER = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:(?=/)", re.IGNORECASE)
# Label Studio serves files of a disk under such an address.
_SERVED_PATH = "?d="
_ASKED_SINGLY = 64  # Files of one folder, before it is listed.


def plain_name(name: str) -> str:
    """Write a path with forward slashes, without drive, server and steps that lead nowhere.

    Returns:
        "photos/a.jpg"; with a leading slash where the path was absolute.
    """
    if _PLAIN.fullmatch(name):
        return name
    path = name.replace("\\", "/")
    path, served = _SERVER.subn("", path, count=1) if _SERVER.match(path) else (path, 0)
    if _SERVED_PATH in path:
        path = path.partition(_SERVED_PATH)[2]
    elif served:
        path = path.partition("?")[0]
    path = _DRIVE.sub("", path, count=1) if _DRIVE.match(path) else path
    steps: list[str] = []
    for step in path.split("/"):
        if step == ".." and steps and steps[-1] != "..":
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    return ("/" if path.startswith("/") else "") + "/".join(steps)


def leads_out(name: str) -> bool:
    """Whether a path is absolute or climbs, so that its beginning tells of another machine."""
    # Asked of every image of a set: most names need no cutting.
    return name.startswith("/") or (".." in name and ".." in name.split("/"))


def parts_from(name: str, start: int) -> str:
    """Cut a path to its parts from a place on, which counts from the end where it is negative."""
    return "/".join(name.removeprefix("/").split("/")[start:]) if start else name


class FilesBelow:
    """The files below a folder, found by names that are spelt nearly as theirs.

    A folder that is asked for many files is listed once, since a disk of the network takes as long
    for one of them as for a thousand names.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = str(folder)
        self._listed: dict[str, dict[str, list[str]]] = {}
        self._asked: dict[str, int] = {}
        self._files: dict[str, set[str]] = {}

    def find(self, name: str) -> str | None:
        """Find a file: as it is spelt, with its %20 decoded, or in other letters of one kind.

        Returns:
            Its path below the folder, with forward slashes; None where there is none, or several
            fit alike.
        """
        if name and not leads_out(name) and self._is_file(name):
            return name
        spellings = [s for s in dict.fromkeys((name, unquote(name))) if s and not leads_out(s)]
        for spelling in spellings:
            if self._is_file(spelling):
                return spelling
        found = (self._in_other_letters(spelling) for spelling in spellings)
        return next((path for path in found if path is not None), None)

    def _in_other_letters(self, name: str) -> str | None:
        place = ""
        for step in name.split("/"):
            options = self._list(place).get(_fold(step), [])
            if step not in options and len(options) != 1:
                return None
            place = os.path.join(place, step if step in options else options[0])
        return place if self._is_file(place) else None

    def _is_file(self, name: str) -> bool:
        place, _, own = name.rpartition("/")
        if place not in self._files:
            self._asked[place] = self._asked.get(place, 0) + 1
            if self._asked[place] <= _ASKED_SINGLY:
                return os.path.isfile(os.path.join(self.folder, name))
            self._files[place] = _files_in(os.path.join(self.folder, place))
        return own in self._files[place]

    def _list(self, place: str) -> dict[str, list[str]]:
        """List a folder, by names without capitals and with composed letters."""
        if place not in self._listed:
            by_fold: dict[str, list[str]] = {}
            try:
                entries = os.listdir(os.path.join(self.folder, place))
            except (OSError, ValueError):
                entries = []
            for entry in entries:
                by_fold.setdefault(_fold(entry), []).append(entry)
            self._listed[place] = by_fold
        return self._listed[place]


def _files_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (OSError, ValueError):
        return set()


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
