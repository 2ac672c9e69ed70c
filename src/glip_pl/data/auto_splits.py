"""Splits of a folder as somebody exported it: those that it has, else shares of what is there."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np

from glip_pl.data.formats import AnnotationSet
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.yolo.yolo import NO_IMAGES

log = logging.getLogger(__name__)

# What `split` of a data set may say, and the split that it stands for.
AUTO_SPLITS = {f"auto-{split}": split for split in ("train", "val", "test")}
_STANDS_IN = {"val": "test", "test": "val"}
_ONE_OF = 10  # Held out where there is nothing to validate on.


def auto_split(sets: Mapping[str, AnnotationSet], wanted: str, source: Path) -> AnnotationSet:
    """Choose a split to train, validate or test on.

    Where val or test is lacking, the other stands in for it. Where both are, a tenth of the images
    is held out for both, always the same one, and training has the rest.

    Args:
        sets: The sets of the folder by split.
        wanted: "train", "val" or "test".
        source: The folder, for messages.

    Raises:
        ValueError: There is nothing to train on, or it is not clear what.
    """
    held_out = [split for split in _STANDS_IN if _is_there(sets, split)]
    if wanted in held_out:
        return sets[wanted]
    if wanted in _STANDS_IN and held_out:
        log.warning("%s has no split %s: %s stands in for it", source, wanted, held_out[0])
        return sets[held_out[0]]
    rest = [split for split in sets if split not in _STANDS_IN]
    known = [split for split in ("train", "trainval", "all") if split in rest]
    base, *unclear = known[:1] or rest or [""]
    if unclear or not base:
        raise ValueError(
            f"{str(source)!r} has the splits {', '.join(sets) or 'none'}, and none to train on; "
            "name one of them train, or write a YAML with `split` of each data set"
        )
    if held_out:
        return sets[base]
    return _share(sets[base], wanted in _STANDS_IN, source)


def trains(sets: Mapping[str, AnnotationSet], source: Path) -> bool:
    """Return whether a folder has a split to train on."""
    try:
        auto_split(sets, "train", source)
    except ValueError:
        return False
    return True


def nothing_to_learn(split: str, found: AnnotationSet) -> list[str]:
    """Return that a split to train on has images and no box, or nothing where it has.

    Training refuses it; a test may well show what is not there.
    """
    records = columns_of(found.records)
    if split in _STANDS_IN or not len(records) or records.box_counts.any():
        return []
    return [] if records.has_captions.any() else ["no box, so that nothing can be learned from it"]


def _is_there(sets: Mapping[str, AnnotationSet], split: str) -> bool:
    """Whether a split is there, which a description may name without its images."""
    return split in sets and not (NO_IMAGES in sets[split].problems and not sets[split].records)


def _share(found: AnnotationSet, held_out: bool, source: Path) -> AnnotationSet:
    """Take the tenth of the images that is held out, or the rest."""
    records = columns_of(found.records)
    files = dict.fromkeys(records.file_names())
    # In an order that new images do not change.
    ordered = sorted(files, key=lambda name: (crc32(name.encode(errors="replace")), name))
    count = -(-len(ordered) // _ONE_OF)
    chosen = set(ordered[:count]) if held_out or len(ordered) == 1 else set(ordered[count:])
    if held_out:
        log.warning(
            "%s has no split val or test: %d of its %d images are held out, not trained on",
            *(source, count, len(ordered)),
        )
    kept = np.array([name in chosen for name in records.file_names()], bool)
    return replace(found, records=records.take(kept))
