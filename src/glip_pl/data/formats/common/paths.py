"""Where the files of a grounding set lie: one annotation file a split, and the images near them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.checks import MISSING_FILE, OUTSIDE_FOLDER, UNSURE_FILE, note
from glip_pl.data.formats.common.detection_sets import folder_split, subfolders
from glip_pl.data.formats.common.file_names import (
    Cuts,
    FilesBelow,
    cut,
    endings,
    fitting_cuts,
    leads_out,
    plain_name,
)

# A split's word in a file name, "refcoco_testA" or "train2017"; never part of a longer word.
_SPLIT = re.compile(r"(?i)(?<![a-z])(train|val|test[ab]?)(?:id(?:ation)?)?(?![a-z])")
_REFERENCES = re.compile(r"g?refs\([a-z]+\)\.(p|json)")
_FOLDERS = ("images", "train2014", "train2017", "flickr30k-images", "flickr30k_images")
_LOOKED_AT = 10_000
_PROBES = 20


def sources(
    path: Path, suffixes: Sequence[str], is_form: Callable[[Path], bool], needed: str = ""
) -> dict[str, Path]:
    """Find the annotation files of a form by split; a lone file is the split "all".

    Args:
        path: The file, or a folder that has such files in itself or in ``annotations``.
        suffixes: What their names may end in.
        is_form: Tells from the first bytes whether a file is in the form.
        needed: Name of the form where finding nothing is an error.

    Returns:
        The files; of several of one split, each under the whole of its name.

    Raises:
        ValueError: Nothing is found, though `needed`.
    """
    if path.is_file():
        found = [path] if path.suffix in suffixes and is_form(path) else []
        named = dict.fromkeys(found, "all")
    else:
        held = sorted([*path.glob("*"), *path.glob("annotations/*")])
        found = [file for file in held if file.suffix in suffixes and file.is_file()]
        found = [file for file in found if is_form(file)]
        words = [split_of(file.stem) for file in found]
        named = {
            file: word if word and words.count(word) == 1 else file.stem
            for file, word in zip(found, words, strict=True)
        }
        if len(found) == 1 and words == [None]:
            named = {found[0]: "all"}
    if needed and not found:
        what = "is not" if path.is_file() else "and its annotations/ have no file"
        what = what if path.exists() else "does not exist, so nothing is"
        raise ValueError(
            f"{str(path)!r} {what} in the form {needed!r} ({' or '.join(suffixes)}); name the "
            "annotation file, or the folder that has it"
        )
    return {split: file for file, split in named.items()}


def reference_files(path: Path) -> list[Path]:
    """Find the files of references that RefCOCO has beside its boxes, by their names."""
    files = [path] if path.is_file() else sorted(path.glob("*refs(*"))
    return [file for file in files if _REFERENCES.fullmatch(file.name)]


def split_of(stem: str) -> str | None:
    """Read the split in a file's name: its last word "train", "val", "test", "testA" or "testB"."""
    words = _SPLIT.findall(stem)
    word = words[-1].lower() if words else None
    return {"testa": "testA", "testb": "testB"}.get(word, word) if word else None


class ImageFolder:
    """The folder of a set's images, which finds the files that annotations name.

    Attributes:
        path: The folder.
        problems: Gains the files that are missing, outside the folder, or not certain.
    """

    def __init__(self, path: Path, problems: Problems, cuts: Cuts = (0, 0)) -> None:
        self.path, self.problems = path, problems
        self._cuts = cuts
        self._files = FilesBelow(path)
        self._found: dict[str, str | None] = {}
        # Which other name than its own a file was found by first, and the files found by several.
        self._written: dict[str, str] = {}
        self._unsure: set[str] = set()

    @classmethod
    def near(
        cls,
        source: Path,
        names: Iterable[str],
        problems: Problems,
        split: str | None = None,
        first: Path | None = None,
    ) -> Self:
        """Find the folder near an annotation file that has most of some images of a set.

        It is ``images`` or has another usual name, or is named after the split. Names of other
        machines, and of folders that a download need not have, count from the part that is there.

        Args:
            source: The annotation file, or the folder of a set.
            names: File names of images.
            problems: What `find` adds to.
            split: The split, where the name of the file does not tell it.
            first: A folder that is likelier than all others.
        """
        places = [] if first is None else [first]
        return cls._best(
            [*places, *_places(source, split or split_of(source.stem))], names, problems
        )

    @classmethod
    def at(cls, path: Path, names: Iterable[str], problems: Problems) -> Self:
        """Look into a named folder; names count from the part that is there."""
        return cls._best([path], names, problems)

    @classmethod
    def _best(cls, places: Sequence[Path], names: Iterable[str], problems: Problems) -> Self:
        wanted = [plain_name(name) for name in islice(names, _LOOKED_AT)]
        some = wanted[:: max(1, len(wanted) // _PROBES)]
        best, most = (places[0], (0, 0)), 0
        for place in places:
            found, cuts = fitting_cuts(FilesBelow(place), some)
            if found > most:
                best, most = (place, cuts), found
            if found == len(some):
                break
        return cls(best[0], problems, best[1])

    def for_split(self, problems: Problems) -> Self:
        """Look into the same folder for the images of one split, whose problems are apart."""
        return type(self)(self.path, problems, self._cuts)

    def find(self, name: str, subfolder: str = "") -> str | None:
        """Find an image file, which many captions may share.

        Args:
            name: Its name as the annotations have it.
            subfolder: Where it may lie instead ("vg" or "coco" in GoldG's ``data_source``).

        Returns:
            Its path below the folder, with forward slashes; None when it is missing.
        """
        plain = plain_name(name)
        asked = f"{subfolder}/{plain}" if subfolder else plain
        if asked not in self._found:
            options = dict.fromkeys((cut(plain, self._cuts), asked, *endings(plain)))
            found = next((f for o in options if (f := self._files.find(o)) is not None), None)
            # The same text, of which a million may be kept, is kept once.
            self._found[asked] = asked if found == asked else found
            if found is not None and self._others_lead_to(found, asked):
                self._unsure.add(found)
        if self._found[asked] is None:
            note(self.problems, OUTSIDE_FOLDER if leads_out(plain) else MISSING_FILE, name)
        return self._found[asked]

    def _others_lead_to(self, found: str, asked: str) -> bool:
        """Whether a file was found by another name before; most are found by their own."""
        if found == asked:
            return found in self._written
        return self._written.setdefault(found, asked) != asked or self._found.get(found) == found

    def certain(self, records: ColumnRecords) -> ColumnRecords:
        """Leave out the records whose file other names led to as well; called after the last one.

        "cam1/1.jpg" and "cam2/1.jpg" beside a lone "1.jpg" may both mean it.
        """
        return records.take(np.array([self.is_certain(n) for n in records.file_names()], bool))

    def is_certain(self, found: str) -> bool:
        """Whether no two names led to a file; else note it. Called after the last `find`."""
        if found in self._unsure:
            note(self.problems, UNSURE_FILE, found)
            return False
        return True


@dataclass(frozen=True)
class FolderFinder:
    """How to find the folder of the images that a file speaks of, by some of their names.

    Attributes as the arguments of `ImageFolder.near`; `only` is the folder, where it was named.
    """

    source: Path
    split: str | None = None
    first: Path | None = None
    only: Path | None = None

    def __call__(self, names: Iterable[str], problems: Problems) -> ImageFolder:
        """Open the folder; what is missing there goes to the problems."""
        if self.only is not None:
            return ImageFolder.at(self.only, names, problems)
        return ImageFolder.near(self.source, names, problems, self.split, self.first)


def _places(source: Path, split: str | None) -> list[Path]:
    """List the folders that may have the images of an annotation file, the likeliest first."""
    start = source if source.is_dir() else source.parent
    if start.name == "annotations":
        around = [start.parent, start, start.parent.parent]
    else:
        around = [start, start.parent, start.parent.parent]
    below = [f for base in around[:2] for f in (*subfolders(base / "images"), *subfolders(base))]
    places = [around[0] / "images"]
    places += [folder for folder in below if split and folder_split(folder.name) == split]
    # CVAT writes instances_default.json beside images/default.
    places += [f for f in below if source.stem.lower().endswith(f"_{f.name.lower()}")]
    places += around[:1]
    places += [base / name for base in around for name in _FOLDERS]
    return list(dict.fromkeys([*places, *around]))
