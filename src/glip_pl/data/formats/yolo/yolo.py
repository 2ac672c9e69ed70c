"""YOLO: one text file a picture, a line a box, in parts of the picture's width and height.

``data.yaml`` names the categories, numbered from 0, and the pictures of ``train``, ``val`` and
``test``: a folder, a list of folders, or a text file that lists pictures. The labels of
``images/a.jpg`` stand in ``labels/a.txt``: "category x y width height", the middle of the box; a
picture without such a file shows nothing. A line with more numbers is an outline, of which the box
around it is taken, as training with it does. See https://docs.ultralytics.com/datasets/detect.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import yaml

from glip_pl.data.formats.common.detection_sets import all_names, as_detection
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES, place_images
from glip_pl.data.formats.common.records import AnnotationSet, Format, Splits
from glip_pl.data.formats.yolo.yolo_labels import label_line, read_labels

_DESCRIPTION = "data.yaml"
_SPLITS = ("train", "val", "test")
# Other keys may be splits as well, but not these, whatever folders there are.
_NO_SPLITS = ("path", "names", "download")
NO_IMAGES = "split whose images are not there"


class Yolo(Format):
    """YOLO's labels for detection, as Ultralytics reads them."""

    name: ClassVar[str] = "yolo"
    holds: ClassVar[frozenset[str]] = frozenset({"categories"})

    def detect(self, path: Path) -> bool:
        """Tell whether a path is a description, or a folder with ``data.yaml``."""
        file = path / _DESCRIPTION if path.is_dir() else path
        if file.suffix not in (".yaml", ".yml") or not file.is_file():
            return False
        with file.open("rb") as opened:
            head = b"\n" + opened.read(1 << 16)
        splits = [f"\n{split}:".encode() for split in _SPLITS]
        return b"\nnames:" in head and any(key in head for key in (*splits, b": images/"))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the splits of a description; outlines become boxes, and a sixth number a score.

        Raises:
            ValueError: The description cannot be read, or none of its images are there.
        """
        file = path / _DESCRIPTION if path.is_dir() else path
        description = _read_description(file)
        names = _names(description["names"], file)
        base = file.parent
        if description.get("path"):
            # It may be the place where the set was made, which is not here.
            named = base / str(description["path"])
            base = named if named.is_dir() else base
        readers: dict[str, Callable[[], AnnotationSet]] = {}
        first = 1
        for split, value in description.items():
            images = [] if split in _NO_SPLITS else _image_files(value, base)
            if images:
                has_keypoints = "kpt_shape" in description
                readers[split] = partial(
                    read_labels, images, names, first, has_keypoints=has_keypoints
                )
                first += len(images)
            elif split in _SPLITS and value:
                problems = {NO_IMAGES: [str(value)]}
                readers[split] = partial(AnnotationSet, base, [], names, problems=problems)
        if first == 1:
            raise ValueError(
                f"{str(file)!r} leads to no image below {str(base)!r}; correct its `path`, `train` "
                "and `val`"
            )
        return Splits(readers)

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``data.yaml``, ``images/SPLIT`` and ``labels/SPLIT``.

        Numbers have all their digits, so that boxes come back as they were.
        """
        converted = as_detection(sets)
        names = all_names(converted.values())
        number = {name: c for c, name in enumerate(names)}
        described: dict[str, Any] = {}
        for split, annotation_set in converted.items():
            folder = path / "images" / split
            placed = place_images({split: annotation_set}, folder, unique_stems=True)[split]
            for record in placed.records:
                file = path / "labels" / split / PurePosixPath(record.file_name)
                file.parent.mkdir(parents=True, exist_ok=True)
                lines = [
                    label_line(a, record.size, number[placed.names[a.category or 0]])
                    for a in record.annotations
                ]
                file.with_suffix(".txt").write_text("".join(lines))
            described[split] = f"images/{split}"
        described["names"] = dict(enumerate(names))
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
        (path / _DESCRIPTION).write_text(text, encoding="utf-8")


def _read_description(file: Path) -> dict[str, Any]:
    try:
        description = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"cannot read the description {str(file)!r}: {error}; pass the folder with "
            f"{_DESCRIPTION}, or that file"
        ) from error
    if not isinstance(description, dict) or "names" not in description:
        raise ValueError(f"{str(file)!r} has no `names`; name the categories there")
    return description


def _names(value: Any, file: Path) -> dict[int, str]:
    """Read the categories, a list or numbered."""
    try:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`names` of {str(file)!r} is {value!r}, neither a list nor numbered; write a list"
        ) from error


def _image_files(value: Any, base: Path) -> list[str]:
    """List the images of a split; nothing where a key of the description is no split."""
    files: list[str] = []
    for entry in value if isinstance(value, list) else [value]:
        # Roboflow's exports begin with "../", from a folder that they do not have.
        options = [entry, entry.removeprefix("../")] if isinstance(entry, str) else []
        places = [os.path.join(base, option) for option in options]
        place = next((place for place in places if os.path.exists(place)), "")
        if os.path.isdir(place):
            below = (os.path.join(root, n) for root, _, names in os.walk(place) for n in names)
            files += sorted(name for name in below if name.lower().endswith(IMAGE_SUFFIXES))
        elif place.endswith(".txt"):
            lines = Path(place).read_text(encoding="utf-8").splitlines()
            parent = os.path.dirname(place)
            files += [os.path.join(parent, line.strip()) for line in lines if line.strip()]
    return [os.path.normpath(file) for file in files]
