"""All formats of annotation files, and which of them a path is in."""

from pathlib import Path

from glip_pl.data.formats.captions import Captions
from glip_pl.data.formats.coco.coco import Coco
from glip_pl.data.formats.coco.panoptic import CocoPanoptic
from glip_pl.data.formats.common.detection_sets import subfolders
from glip_pl.data.formats.common.records import Format
from glip_pl.data.formats.cvat.cvat import Cvat
from glip_pl.data.formats.flickr import FlickrEntities
from glip_pl.data.formats.label_studio.label_studio import LabelStudio
from glip_pl.data.formats.lvis import Lvis
from glip_pl.data.formats.masks.masks import Masks
from glip_pl.data.formats.mdetr.mdetr import Mdetr
from glip_pl.data.formats.odvg.odvg import Odvg
from glip_pl.data.formats.openimages.openimages_csv import OpenImages
from glip_pl.data.formats.refcoco.refcoco import RefCoco
from glip_pl.data.formats.voc.voc import Voc
from glip_pl.data.formats.webdataset.webdataset import WebDatasetShards
from glip_pl.data.formats.yolo.description import has_labels, without_splits
from glip_pl.data.formats.yolo.yolo import Yolo

_ALL: tuple[Format, ...] = (
    Coco(),
    CocoPanoptic(),
    Lvis(),
    OpenImages(),
    Voc(),
    Yolo(),
    LabelStudio(),
    Cvat(),
    Masks(),
    Odvg(),
    Mdetr(),
    FlickrEntities(),
    RefCoco(),
    Captions(),
    WebDatasetShards(),
)
# Folders that are looked into for a data set.
_FOLDERS = 20
FORMATS: dict[str, Format] = {form.name: form for form in _ALL}


def detect_format(path: Path) -> Format:
    """Find the format of a data set.

    Args:
        path: Its file or folder.

    Raises:
        ValueError: There is nothing, or it is in no known format, or in several.
    """
    if not path.exists():
        raise ValueError(f"there is no file or folder {str(path)!r}; correct the path")
    every = _forms(path)
    found = [form for form in every if not form.yields] or every
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{str(path)!r} may be read as {' or '.join(form.name for form in found)}; say which "
            "(--format, or --from of convert), or pass one of its files"
        )
    raise ValueError(
        f"{_missing_piece(path)}{str(path)!r} is in none of the formats {', '.join(FORMATS)}; pass "
        "the folder or the annotation file of a data set; --format, or --from of convert, may name "
        "its format"
    )


def _missing_piece(path: Path) -> str:
    """Return what a path lacks that looks like a set of a known tool."""
    if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") and path.is_file():
        return f"{str(path)!r} is an archive; unpack it, and pass the folder. As it is, "
    if (file := without_splits(path)) is not None:
        return (
            f"{str(file)!r} has `names` and names no images; write `train` there, for example "
            "train: images. As it is, "
        )
    if has_labels(path):
        return (
            f"{str(path)!r} has labels of YOLO without names; write data.yaml there, with `names` "
            "and `train`, or one name a line into classes.txt. As it is, "
        )
    if any(path.glob("*.XML")) or any(path.glob("*/*.XML")):
        return f"XML files in {str(path)!r} end in .XML; rename them to end in .xml. As it is, "
    folders = subfolders(path)[:_FOLDERS]
    deeper = [deep for folder in folders for deep in subfolders(folder)[:_FOLDERS]]
    # "VOCdevkit/VOC2012" lies two folders deep.
    below = [f for f in folders if _forms(f)] or [f for f in deeper if _forms(f)]
    if below:
        some = " or ".join(repr(str(folder)) for folder in below[:3])
        return f"pass {some}, which has a data set; "
    return ""


def _forms(path: Path) -> list[Format]:
    """List the formats that a path seems to be in."""
    return [form for form in FORMATS.values() if form.detect(path)]
