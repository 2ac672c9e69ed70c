"""Where tools put masks: in a folder beside that of the images, or beside each image."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from glip_pl.data.formats.common.detection_sets import folder_split, subfolders
from glip_pl.data.formats.common.file_names import FilesBelow
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES

_MASKS = ("masks", "mask", "segmentationclass", "segmentation", "annotations", "labels", "gt")
_IMAGES = ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures")
_OBJECTS = "SegmentationObject"
# What a mask's name may have more than its image's.
_ENDINGS = ("", "_mask", "-mask", "_masks", "_seg", "_gt", "_label", "_labels")
_LOOKED_AT = 20


@dataclass(frozen=True)
class MaskFolders:
    """The folders of some images and their masks.

    Attributes:
        images: Of the images.
        masks: Of the masks.
        split: Their split; None where folders in them tell it, if anything does.
    """

    images: Path
    masks: Path
    split: str | None = None

    def pairs(self) -> Iterator[tuple[str, Path]]:
        """Walk over the images that have a mask: name below the folder, and the mask."""
        below, beside = FilesBelow(self.images), self.images == self.masks
        for mask in sorted(self.masks.rglob("*.png")):
            name = PurePosixPath(mask.relative_to(self.masks).as_posix()).with_suffix("")
            image = _image_of(name, below, beside)
            if image is not None:
                yield image, mask

    def objects_of(self, mask: Path) -> Path | None:
        """Return the file that tells the parts of a mask apart, if there is one."""
        file = self.masks.parent / _OBJECTS / mask.relative_to(self.masks)
        return file if file.is_file() else None


def find_folders(path: Path) -> list[MaskFolders]:
    """Find the folders of a set of masks, or of its splits."""
    if not path.is_dir():
        return []
    if (own := _folders_in(path, None)) is not None:
        return [own]
    found = [
        folders
        for folder in subfolders(path)
        if (split := folder_split(folder.name)) and (folders := _folders_in(folder, split))
    ]
    return found


def _folders_in(path: Path, split: str | None) -> MaskFolders | None:
    by_name = {folder.name.lower(): folder for folder in subfolders(path)}
    masks = [by_name[name] for name in _MASKS if name in by_name]
    images = [by_name[name] for name in _IMAGES if name in by_name]
    options = [MaskFolders(images[0], folder, split) for folder in masks] if images else []
    options += [MaskFolders(path, folder, split) for folder in masks if not images]
    options.append(MaskFolders(path, path, split))
    return next((option for option in options if _has_pairs(option)), None)


def _has_pairs(folders: MaskFolders) -> bool:
    """Whether one of the first files is a mask of an image."""
    if folders.images == folders.masks:
        some = list(islice(folders.masks.glob("*_mask.png"), _LOOKED_AT))
    else:
        some = list(islice(folders.masks.rglob("*.png"), _LOOKED_AT))
    below, beside = FilesBelow(folders.images), folders.images == folders.masks
    names = (m.relative_to(folders.masks).with_suffix("").as_posix() for m in some)
    return any(_image_of(PurePosixPath(name), below, beside) for name in names)


def _image_of(mask: PurePosixPath, below: FilesBelow, beside: bool) -> str | None:
    """Find the image of a mask, by its name without what masks have more."""
    for ending in _ENDINGS[beside:]:
        stem = mask.name.removesuffix(ending)
        if stem and (not ending or stem != mask.name):
            place = mask.with_name(stem).as_posix()
            for suffix in IMAGE_SUFFIXES:
                if (file := below.find(place + suffix)) is not None:
                    return file
    return None
