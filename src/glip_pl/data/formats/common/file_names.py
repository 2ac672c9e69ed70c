r"""Files by the names that annotations of anyone give them.

A name may come from another machine ("C:\photos\a.jpg"), from a server
("/data/local-files/?d=photos/a%20b.jpg"), or from a system that writes "é" in two characters or
does not tell "A.JPG" from "a.jpg". Nothing outside the folder of a set is ever opened.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES

# Most names of a set: steps of letters, digits, "_", "-" and later dots.
_PLAIN = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")
_SERVER = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:(?=/)", re.IGNORECASE)
# Label Studio serves files of a disk under such an address.
_SERVED_PATH = "?d="
_ASKED_SINGLY = 64  # Files of one folder, before it is listed.
# From which part on a name may count: the same number of folders dropped, or of parts kept.
_STARTS_INSIDE = (0, 1, 2, 3, -4, -3, -2, -1)
_STARTS_OUTSIDE = (*range(1, 13), -4, -3, -2, -1)

# The first part that counts, of names inside the folder and of names that lead out of it.
Cuts = tuple[int, int]


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

        Blanks around a name may be missing in that of the file, and a suffix of an image in the
        name.

        Returns:
            Its path below the folder, with forward slashes; None where there is none, or several
            fit alike.
        """
        if name and not leads_out(name) and self._is_file(name):
            return name
        options = dict.fromkeys((name, unquote(name), name.strip(), unquote(name).strip()))
        spellings = [s for s in options if s and not leads_out(s)]
        for spelling in spellings:
            if self._is_file(spelling):
                return spelling
        found = (self._in_other_letters(spelling) for spelling in spellings)
        return next((path for path in found if path is not None), None) or self._by_stem(spellings)

    def _by_stem(self, names: Sequence[str]) -> str | None:
        """Find the one image that a name without a suffix may mean."""
        bare = [name for name in names if not name.lower().endswith(IMAGE_SUFFIXES)]
        files = {
            file
            for name in bare
            for suffix in IMAGE_SUFFIXES
            if (file := self._in_other_letters(name + suffix)) is not None
        }
        return files.pop() if len(files) == 1 else None

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


def fitting_cuts(files: FilesBelow, names: Sequence[str]) -> tuple[int, Cuts]:
    """Count the names that a folder has files of, cut to those of their parts that fit best.

    Whole names come first, then long ones: "cam1/1.jpg" tells more than "1.jpg".
    """
    inside = [name for name in names if not leads_out(name)]
    outside = [name for name in names if leads_out(name)]
    total, cuts = 0, []
    for group, starts in ((inside, _STARTS_INSIDE), (outside, _STARTS_OUTSIDE)):
        best, most = 0, 0
        for start in starts:
            found = sum(files.find(parts_from(name, start)) is not None for name in group)
            if found > most:
                best, most = start, found
            if found == len(group):
                break
        total += most
        cuts.append(best)
    return total, (cuts[0], cuts[1])


def endings(name: str) -> list[str]:
    """List the ends of a name that leads out, the longest first: not all need be cut alike."""
    return [parts_from(name, start) for start in _STARTS_OUTSIDE] if leads_out(name) else []


def cut(name: str, cuts: Cuts) -> str:
    """Cut a name to the parts that count."""
    return parts_from(name, cuts[leads_out(name)])
