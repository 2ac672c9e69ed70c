"""The description of a YOLO set: ``data.yaml`` of Ultralytics, ``obj.data`` of Darknet, or neither.

Label Studio and others write the names of the classes alone, ``classes.txt``, beside ``images`` and
``labels``. Paths may be those of the machine where the set was made.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.checks import OTHER_COUNT, note
from glip_pl.data.formats.common.detection_sets import folder_split, subfolders
from glip_pl.data.formats.common.file_names import parts_from, plain_name
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES
from glip_pl.data.formats.common.paths import ImageFolder
from glip_pl.data.formats.common.text_files import (
    decode,
    read_lines,
    read_text,
    read_yaml_words,
)

DESCRIPTION = "data.yaml"
SPLITS = ("train", "val", "test")
_DESCRIPTIONS = (DESCRIPTION, "data.yml", "dataset.yaml", "dataset.yml")
# The names alone, by tool: Label Studio, Darknet and CVAT, Roboflow.
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
# Other keys may be splits as well, but not these, whatever folders there are.
_NO_SPLITS = ("path", "names", "download", "nc", "classes", "backup")


@dataclass(frozen=True)
class Description:
    """What a set says of itself.

    Attributes:
        file: Where it says so.
        base: The folder that its paths start from.
        names: The categories by number.
        splits: Where the images of each split are, as it is written there.
        has_keypoints: Whether lines of labels go on with key points.
        problems: What is odd about it.
    """

    file: Path
    base: Path
    names: dict[int, str]
    splits: Mapping[str, Any]
    has_keypoints: bool = False
    problems: Problems = field(default_factory=dict)

    def images_of(self, split: str, problems: Problems) -> list[str]:
        """List the image files of a split; nothing where a key of the description is no split."""
        value = self.splits[split]
        files: list[str] = []
        for entry in value if isinstance(value, list) else [value]:
            place = self._place(entry) if isinstance(entry, str) and entry else None
            if place is not None and place.is_dir():
                files += sorted(_images_below(place))
            elif place is not None and place.suffix == ".txt":
                lines = read_lines(place)
                folder = ImageFolder.near(place, lines, problems, split)
                found = [name for line in lines if (name := folder.find(line)) is not None]
                files += [str(folder.path / name) for name in dict.fromkeys(found)]
        return [os.path.normpath(file) for file in files]

    def _place(self, entry: str) -> Path | None:
        """Find a folder or list, though it may be named as on the machine that made the set."""
        plain = plain_name(entry)
        # Roboflow's exports begin with "../", from a folder that they do not have.
        shorter = [parts_from(plain, start) for start in range(1, plain.count("/") + 1)]
        options = [self.base / part for part in (plain.removeprefix("/"), *shorter) if part]
        # A path without a folder to start from is never looked for where the program was started.
        options = [Path(entry), *options] if os.path.isabs(entry) else [self.base / entry, *options]
        return next((place for place in options if place.exists()), None)


def find_description(path: Path) -> Path | None:
    """Find the file that describes a set: the path itself, or the likeliest one in a folder."""
    if path.is_file():
        return path if _describes(path) else None
    if not path.is_dir():
        return None
    named = [path / name for name in _DESCRIPTIONS]
    other = [p for p in sorted(path.iterdir()) if p.suffix in (".yaml", ".yml", ".data")]
    described = next((file for file in (*named, *other) if _describes(file)), None)
    if described is not None:
        return described
    places = [path, *(f for f in subfolders(path) if folder_split(f.name) or f.name == "labels")]
    lists = (place / name for place in places for name in NAME_LISTS)
    return next((file for file in lists if file.is_file() and has_labels(path)), None)


def read_description(path: Path) -> Description:
    """Read how a set describes itself.

    Raises:
        ValueError: There is no description, or it cannot be read, or has no names.
    """
    file = find_description(path)
    if file is None:
        raise ValueError(
            f"{str(path)!r} has no {DESCRIPTION} with `names` and `train`; write one, or pass the "
            "folder that has it"
        )
    if file.name in NAME_LISTS:
        names = dict(enumerate(read_lines(file)))
        return Description(file, path, names, _splits_of_folders(path))
    held = _darknet(file) if file.suffix == ".data" else read_yaml_words(file)
    if not isinstance(held, dict) or "names" not in held:
        raise ValueError(f"{str(file)!r} has no `names`; name the categories there")
    base = file.parent
    if isinstance(held.get("path"), str) and held["path"]:
        # It may be the place where the set was made, which is not here.
        named = base / Path(held["path"]).expanduser()
        base = named if named.is_dir() else base
    splits = {
        folder_split(key) or key: value for key, value in held.items() if key not in _NO_SPLITS
    }
    names, problems = _names(held["names"], file), Problems()
    count = held.get("nc", held.get("classes"))
    if isinstance(count, str) and count.strip() != str(len(names)):
        note(problems, OTHER_COUNT, f"{count}, with {len(names)} names")
    return Description(file, base, names, splits, "kpt_shape" in held, problems)


def without_splits(path: Path) -> Path | None:
    """Find a description in a folder that has names and says of no split where it is."""
    return next((f for f in (path / n for n in _DESCRIPTIONS) if "\nnames:" in _head(f)), None)


def _describes(file: Path) -> bool:
    """Recognise from the first bytes whether a file describes a YOLO set."""
    head = _head(file)
    if file.suffix == ".data":
        return "names" in head and "train" in head and "=" in head
    splits = [f"\n{split}:" for split in (*SPLITS, "valid")]
    return "\nnames:" in head and any(key in head for key in (*splits, ": images/"))


def _head(file: Path) -> str:
    """Read how a description begins; nothing of any other file."""
    if file.suffix not in (".yaml", ".yml", ".data") or not file.is_file():
        return ""
    with file.open("rb") as opened:
        return "\n" + decode(opened.read(1 << 16))


def _darknet(file: Path) -> dict[str, Any]:
    """Read ``obj.data``: "train = data/train.txt", and the names in a file of their own."""
    pairs = (line.partition("=") for line in read_text(file).splitlines())
    held: dict[str, Any] = {key.strip(): value.strip() for key, mark, value in pairs if mark}
    listed = Description(file, file.parent, {}, {})._place(str(held.get("names", "")))
    if listed is None or not listed.is_file():
        raise ValueError(f"{str(file)!r} names no file of `names` that is there; correct it")
    return {**held, "names": read_lines(listed)}


def _names(value: Any, file: Path) -> dict[int, str]:
    """Read the categories, a list or numbered; a lone word is a lone category."""
    if isinstance(value, str) and value.strip() and not set(value) & set(",;\n"):
        value = [value]
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    try:
        if isinstance(value, str):
            raise TypeError("a bare text")
        named = {int(number): name for number, name in pairs}
        if not all(isinstance(name, str) for name in named.values()):
            raise TypeError("a list of lists")
        return named
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`names` of {str(file)!r} is {str(value)[:200]!r}, neither a list nor numbered; write "
            "a list, names: [cat, dog]"
        ) from error


def has_labels(path: Path) -> bool:
    """Whether labels lie in ``labels``, or beside images, of a folder or of its splits."""
    places = [path, *(f for f in subfolders(path) if folder_split(f.name))]
    return any(
        (place / "labels").is_dir() or any(t.with_suffix(".jpg").is_file() for t in _texts(place))
        for place in places
    )


def _texts(folder: Path) -> Iterator[Path]:
    return (file for file in folder.glob("*.txt") if file.name not in NAME_LISTS)


def _splits_of_folders(path: Path) -> dict[str, str]:
    """Find the splits of a set without a description: folders named so, or all images as one."""
    places = [path / "images", path] if (path / "images").is_dir() else [path]
    for place in places:
        named = [f for f in subfolders(place) if folder_split(f.name) and any(_images_below(f))]
        if named:
            return {folder_split(f.name) or f.name: str(f.relative_to(path)) for f in named}
    return {"all": "images" if (path / "images").is_dir() else "."}


def _images_below(folder: Path) -> Iterator[str]:
    below = (os.path.join(root, n) for root, _, names in os.walk(folder) for n in names)
    return (name for name in below if name.lower().endswith(IMAGE_SUFFIXES))
