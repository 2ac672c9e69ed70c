"""Where tools put VOC's XML and pictures: in VOC's folders, in others, or all in one.

Kaggle's sets have ``annotations`` and ``images``, Roboflow's a folder a split in which every
picture lies beside its XML, LabelImg writes both into one folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from glip_pl.data.formats.common.detection_sets import folder_split, subfolders
from glip_pl.data.formats.common.text_files import decode

_ANNOTATIONS = ("annotations", "annotation", "xmls", "xml", "labels")
_IMAGES = ("jpegimages", "images", "image", "imgs", "img", "photos", "pictures")
_LOOKED_AT = 5


@dataclass(frozen=True)
class Layout:
    """The folders of a set.

    Attributes:
        annotations: Where the XML files are, in folders or not.
        images: Where the pictures are, below which they have the names of their XML.
        splits: Folder below `annotations` of each split; empty where lists tell the splits.
    """

    annotations: Path
    images: Path
    splits: dict[str, str]


def find_layout(path: Path) -> Layout | None:
    """Find the folders of a set in VOC's form; None where there is no such XML."""
    if not path.is_dir() or (path / "Sentences").is_dir():  # Flickr30k's XML looks alike.
        return None
    below = subfolders(path)
    annotations, images = _named(below, _ANNOTATIONS), _named(below, _IMAGES)
    is_voc = images is not None or (path / "ImageSets").is_dir()
    own = annotations is not None and annotations.name == "Annotations"
    if annotations is not None and is_voc and (own or _has_voc(annotations.rglob("*.xml"))):
        return Layout(annotations, images or path / "JPEGImages", {})
    splits = {folder_split(f.name): f.name for f in below if _has_voc(f.glob("*.xml"))}
    named = {split: folder for split, folder in splits.items() if split is not None}
    if named:
        return Layout(path, path, named)
    if _has_voc(path.glob("*.xml")):
        return Layout(path, images or path, {})
    return (
        Layout(annotations, path, {})
        if annotations and _has_voc(annotations.glob("*.xml"))
        else None
    )


def _named(folders: Iterable[Path], names: tuple[str, ...]) -> Path | None:
    """Find the folder that has the first of some names, whatever its capitals."""
    by_name = {folder.name.lower(): folder for folder in folders}
    return next((by_name[name] for name in names if name in by_name), None)


def _has_voc(files: Iterable[Path]) -> bool:
    """Whether one of the first XML files describes a picture."""
    for file in islice(files, _LOOKED_AT):
        with file.open("rb") as opened:
            head = decode(opened.read(4096))
        if "<annotation>" in head or "<annotation " in head:
            return True
    return False
