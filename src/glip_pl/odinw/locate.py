"""Where the ODinW sets lie on this machine, and how their splits are read."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glip_pl.data.formats.coco.coco_json import read_document
from glip_pl.odinw.sets import OdinwSet

log = logging.getLogger(__name__)

# Annotation file and image folder of a split ("train", "valid", "test").
_OFFICIAL = (
    ("{split}/annotations_without_background.json", "{split}"),
    ("{short}_annotations_without_background.json", "."),
)
_PLAIN = ("annotations/{short}.json", "images")


@dataclass(frozen=True)
class Place:
    """A data set that was found.

    Attributes:
        entry: What is known of the set.
        root: Its folder.
        annotations: Pattern of the annotation files, with {split} ("valid") or {short} ("val").
        images: Pattern of the image folders, likewise.
        renamed: The prompt's name of each category id; empty where the file's own names stay.
    """

    entry: OdinwSet
    root: Path
    annotations: str
    images: str
    renamed: Mapping[int, str]

    def split(self, split: str, *, shots: int | None = None, seed: int = 3) -> dict[str, Any]:
        """Describe a split as configurations do.

        Args:
            split: "train", "valid" or "test".
            shots: Few-shot images per category. Lists of them as official GLIP ships them, such
                as ``train/fewshot_train_shot1_seed3.json``, are used where they are there.
            seed: Of the few-shot images.
        """
        short = {"valid": "val"}.get(split, split)
        annotations = Path(self.annotations.format(split=split, short=short))
        options: dict[str, Any] = {"fixed_prompt": True}
        if shots is not None:
            prepared = annotations.with_name(f"fewshot_{short}_shot{shots}_seed{seed}.json")
            if (self.root / prepared).is_file():
                annotations = prepared
            else:
                options |= {"shots": shots, "shot_seed": seed}
        if self.renamed:
            options["renamed"] = dict(self.renamed)
        described = {
            i: self.entry.descriptions[name]
            for i, name in self.renamed.items()
            if name in self.entry.descriptions
        }
        if described:
            options["descriptions"] = described
        return {
            "class_path": "glip_pl.data.CategoryDetection",
            "init_args": {
                "annotations": annotations.as_posix(),
                "images": self.images.format(split=split, short=short),
                **options,
            },
        }


def locate(entry: OdinwSet, root: Path) -> Place | None:
    """Find a data set, in official GLIP's layout or as ``annotations/test.json`` and ``images/``.

    Args:
        entry: The set; its folder is sought as official GLIP names it, below `root` or
            ``root/odinw``, or else by its short name.
        root: Folder of all sets.

    Returns:
        None when it is not there.
    """
    bases = [root / entry.folder, root / "odinw" / entry.folder, root / entry.name]
    for base in bases:
        for annotations, images in (*_OFFICIAL, _PLAIN):
            short = {"valid": "val"}.get(entry.test, entry.test)
            path = base / annotations.format(split=entry.test, short=short)
            if path.is_file():
                is_plain = (annotations, images) == _PLAIN
                ids = dict(enumerate(entry.names, start=1))
                renamed = _matched(entry, path) if is_plain else ids
                return Place(entry, base, annotations, images, renamed)
    return None


def _matched(entry: OdinwSet, path: Path) -> dict[int, str]:
    """Match categories of a file with other ids by their names; give none where some differ."""
    renamed = {}
    for category in read_document(path, ("categories",)).lists["categories"]:
        own = {str(category[key]).lower() for key in ("name", "original_name") if key in category}
        for name, aliases in zip(entry.names, entry.aliases, strict=True):
            if own & {alias.lower() for alias in aliases}:
                renamed[category["id"]] = name
                break
        else:
            log.warning(
                "%s: the category %r is none of the original %s; the prompt has the file's names",
                *(path, category.get("name"), ", ".join(entry.names)),
            )
            return {}
    return renamed
