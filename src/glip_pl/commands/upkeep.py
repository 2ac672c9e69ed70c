"""Looking after a data set: check it, convert it into another format, or draw some of it."""

import json
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from glip_pl.data.annotations import Problems
from glip_pl.data.formats import FORMATS, AnnotationSet, Format, detect_format
from glip_pl.data.formats.common.checks import CHANGES
from glip_pl.data.formats.common.image_files import without_broken_images
from glip_pl.data.report import count_of, describe, list_losses, list_problems
from glip_pl.inference.sheet import picture_of, sheet_of

QUARANTINE = "quarantine.json"


def check(path: str, *, format: str | None = None) -> bool:
    """Count what a data set has, and find what is wrong with it; every image is decoded.

    Args:
        path: Folder or annotation file of the data set.
        format: Its format, where it is not seen: coco, lvis, openimages, voc, yolo, odvg, mdetr,
            flickr30k, refcoco, captions or webdataset.

    Returns:
        Whether something is wrong.
    """
    form, sets = _read(path, format)
    print(f"{path}: {form.name}")
    wrong = False
    for split, annotation_set in sets.items():
        usable, oriented = without_broken_images(annotation_set)
        problems = list_problems(usable.problems)
        print("\n".join(["", f"{split}: {count_of(usable)}", *describe(usable, oriented)]))
        if not usable.records:
            problems.append("no usable image")
        print("\n".join(f"  {line}" for line in problems or ["no problems"]))
        wrong |= bool(problems)
    return wrong


def convert(
    source: str, target: str, *, to: str, source_format: str | None = None, strict: bool = False
) -> None:
    """Write a data set in another format; what is wrong with it is left out and listed.

    The images are links to those of the source where the disk allows it, else copies.

    Args:
        source: Folder or annotation file of the data set.
        target: The folder to write; it must not exist.
        to: Format to write: coco, lvis, openimages, voc, yolo, odvg, mdetr, refcoco, captions or
            webdataset.
        source_format: Format of the source, where it is not seen.
        strict: Write nothing if anything would be left out, changed or lost.
    """
    place = Path(target)
    if place.exists():
        raise ValueError(f"{target!r} exists already; name a new place, or remove it first")
    writer = _named(to)
    form, found = _read(source, source_format)
    sets = {split: without_broken_images(held)[0] for split, held in found.items()}
    problems = {split: held.problems for split, held in sets.items() if held.problems}
    sets = {split: held for split, held in sets.items() if held.records}
    told = [f"{s}: {line}" for s, held in problems.items() for line in list_problems(held)]
    told += list_losses(writer, sets)
    if not sets:
        raise ValueError("\n  ".join([f"{source!r} has no usable image", *told]))
    if strict and told:
        raise ValueError(
            "\n  ".join([f"--strict, and {source!r} is not written as {to} without loss", *told])
            + "\nnothing is written; correct the data set, or drop --strict"
        )
    _write(writer, sets, place, problems)
    print(f"{source}: {form.name}\n{target}: {to}")
    told = [*(f"{split}: {count_of(held)}" for split, held in sets.items()), *told]
    if problems:
        told.append(f"all that is left out or to be corrected: {place / QUARANTINE}")
    print("\n".join(f"  {line}" for line in told))


def show(
    path: str,
    *,
    output: str = "sheet.png",
    split: str | None = None,
    count: int = 12,
    seed: int = 0,
    format: str | None = None,
) -> None:
    """Draw a sheet of samples with their boxes and phrases.

    Args:
        path: Folder or annotation file of the data set.
        output: The picture to write.
        split: Split to show; the first by default.
        count: How many samples.
        seed: Another one chooses other samples.
        format: Format of the data set, where it is not seen.
    """
    _, sets = _read(path, format)
    chosen = next(iter(sets)) if split is None else split
    if chosen not in sets:
        raise ValueError(f"{path!r} has no split {split!r}; --split is one of {', '.join(sets)}")
    annotation_set = sets[chosen]
    # Samples without boxes tell little and come last.
    records = random.Random(seed).sample(annotation_set.records, len(annotation_set.records))
    records.sort(key=lambda record: not record.annotations)
    pictures: list[np.ndarray] = []
    for record in records:
        if len(pictures) == count:
            break
        try:
            pictures.append(picture_of(annotation_set, record))
        except ValueError as error:
            print(error)
    if not pictures:
        raise ValueError(f"{path!r} has no image to show in {chosen!r}; run glip data check")
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet_of(pictures)).save(target)
    print(f"{len(pictures)} samples of {chosen}: see {target}")


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise ValueError(f"there is no format {name!r}; name one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _read(path: str, name: str | None) -> tuple[Format, dict[str, AnnotationSet]]:
    source = Path(path)
    if not source.exists():
        raise ValueError(f"there is no file or folder {path!r}; correct the path")
    form = detect_format(source) if name is None else _named(name)
    sets = form.read(source)
    return form, {split: sets[split] for split in sorted(sets, key=_split_order)}


def _split_order(split: str) -> tuple[int, str]:
    known = ("train", "val", "test")
    return (known.index(split) if split in known else len(known)), split


def _write(
    writer: Format, sets: Mapping[str, AnnotationSet], place: Path, problems: dict[str, Problems]
) -> None:
    """Write a folder that is there as a whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as name:
        folder = Path(name) / "set"
        writer.write(sets, folder)
        if problems:
            kinds = [(s, k, found) for s, held in problems.items() for k, found in held.items()]
            quarantine: dict[str, dict[str, Problems]] = {}
            for split, kind, found in kinds:
                what = quarantine.setdefault("changed" if kind in CHANGES else "left out", {})
                what.setdefault(split, {})[kind] = found
            (folder / QUARANTINE).write_text(json.dumps(quarantine, indent=1) + "\n")
        folder.rename(place)
