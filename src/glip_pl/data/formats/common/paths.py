"""Where the files of a grounding set lie: one annotation file a split, and the images near them."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.checks import file_problem, note
from glip_pl.data.formats.common.detection_sets import folder_split, subfolders

# A split's word in a file name, "refcoco_testA" or "train2017"; never part of a longer word.
_SPLIT = re.compile(r"(?<![a-zA-Z])(train|val|test[AB]?)(?:id(?:ation)?)?(?![a-zA-Z])")
_REFERENCES = re.compile(r"g?refs\([a-z]+\)\.(p|json)")
_FOLDERS = ("images", "train2014", "train2017", "flickr30k-images", "flickr30k_images")
_FIRST = 20


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
    return words[-1] if words else None


class ImageFolder:
    """The folder of a set's images, which knows the files that it has been asked for.

    Attributes:
        path: The folder.
        problems: Gains the files that are missing, or outside the folder.
    """

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path, self.problems = path, problems
        self._found: dict[str, str | None] = {}

    @classmethod
    def near(cls, source: Path, names: Iterable[str], problems: Problems) -> Self:
        """Find the folder near an annotation file that has one of a set's first images.

        It is ``images`` or has another usual name, or is named after the split of the file.

        Args:
            source: The annotation file, or the folder of a set.
            names: File names of images.
            problems: What `find` adds to.
        """
        start = source if source.is_dir() else source.parent
        around = [start, start.parent, start.parent.parent]
        split = split_of(source.stem)
        below = [
            f for base in around[:2] for f in (*subfolders(base / "images"), *subfolders(base))
        ]
        places = [base / name for base in around for name in _FOLDERS]
        places += [folder for folder in below if split and folder_split(folder.name) == split]
        places += around
        first = list(islice(names, _FIRST))
        for place in places:
            if any(file_problem(str(place), name) is None for name in first):
                return cls(place, problems)
        return cls(start.parent / "images" if start.name == "annotations" else places[0], problems)

    def find(self, name: str, subfolder: str = "") -> str | None:
        """Find an image file, which many captions may share.

        Args:
            name: Its name as the annotations have it.
            subfolder: Where it may lie instead ("vg" or "coco" in GoldG's ``data_source``).

        Returns:
            Its path below the folder, with forward slashes; None when it is missing.
        """
        asked = f"{subfolder}/{name}" if subfolder else name
        if asked not in self._found:
            usable = [o for o in (name, asked) if file_problem(str(self.path), o) is None]
            self._found[asked] = usable[0] if usable else None
        if self._found[asked] is None:
            note(self.problems, file_problem(str(self.path), name), name)
        return self._found[asked]
