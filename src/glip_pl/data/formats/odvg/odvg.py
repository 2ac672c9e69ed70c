"""ODVG: JSON lines that hold detection or grounding, as Grounding DINO's open trainers read them.

A line has ``filename``, ``height``, ``width`` and ``detection`` (instances of numbered categories,
which a ``label_map.json`` beside it names), ``grounding`` (a caption and the regions of its
phrases), or both. Boxes are xyxy pixels. See Open-GroundingDino's data_format.md and MMDetection's
``ODVGDataset``. Regions that lack ``tokens_positive`` have their phrase looked for in the caption.
"iscrowd" of an instance or region is COCO's; other readers do not know it. The number of a line is
the id of its image.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import ColumnsBuilder
from glip_pl.data.formats.columns.kept import digest_of, kept_set
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.caption_spans import phrase_of
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.detection_sets import all_names
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.json_keys import read_json
from glip_pl.data.formats.common.json_lines import first_object, json_lines
from glip_pl.data.formats.common.paths import FolderFinder, ImageFolder, sources
from glip_pl.data.formats.common.records import AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.values import WRONG, size_of
from glip_pl.data.formats.odvg.odvg_regions import read_instances, read_regions

_SUFFIXES = (".jsonl", ".json")


class Odvg(Format):
    """Grounding and detection in JSON lines."""

    name: ClassVar[str] = "odvg"
    holds: ClassVar[frozenset[str]] = frozenset({"categories", "captions", "crowd"})

    def detect(self, path: Path) -> bool:
        """Return whether the first line of a file has detection or grounding of a file name."""
        return bool(sources(path, _SUFFIXES, _is_odvg))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a file of lines, or those of a folder or of its ``annotations``.

        Raises:
            ValueError: No file is in this form, or it cannot be told which label map is its own.
        """
        return self.read_with_images(path, None)

    def read_with_images(self, path: Path, images: Path | None) -> Mapping[str, AnnotationSet]:
        """Read the same files, whose images may lie in a named folder."""
        files = sources(path, _SUFFIXES, _is_odvg, needed=self.name)
        return Splits({split: partial(_read_file, file, images) for split, file in files.items()})

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``annotations/SPLIT.jsonl``, the label map and the images.

        Categories are numbered anew, from 0 without gaps; those of one name are one.

        Raises:
            ValueError: A box has neither a category nor a phrase.
        """
        placed = place_images(sets, path / "images")
        labels = {name: label for label, name in enumerate(all_names(placed.values()))}
        folder = path / "annotations"
        folder.mkdir()
        if labels:
            label_map = {str(label): name for name, label in labels.items()}
            (folder / "label_map.json").write_text(json.dumps(label_map))
        for split, annotation_set in placed.items():
            with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
                for record in annotation_set.records:
                    file.write(json.dumps(_line(record, labels, annotation_set.names)) + "\n")


def _is_odvg(file: Path) -> bool:
    line = first_object(file)
    return "filename" in line and bool({"detection", "grounding"} & line.keys())


def _read_file(file: Path, images: Path | None = None) -> AnnotationSet:
    names = _label_map(file)

    def read(place: Path | None) -> tuple[AnnotationSet, str]:
        # Lines may add names of their own, and a second reading starts from the map again.
        return _read_lines(file, dict(names), place, images), digest_of(file)

    return kept_set(file, f"odvg {sorted(names.items())} {images}", read)


def _read_lines(
    file: Path, names: dict[int, str], place: Path | None, images: Path | None
) -> AnnotationSet:
    problems: Problems = {}
    first = (str(line.get("filename")) for _, line in json_lines(file, {}))
    folder = FolderFinder(file, only=images)(first, problems)
    builder = ColumnsBuilder(place)
    builder.add(_records(file, folder, names, problems))
    records = folder.certain(builder.finish())
    return AnnotationSet(folder.path, records, dict(sorted(names.items())), problems=problems)


def _records(
    file: Path, folder: ImageFolder, names: dict[int, str], problems: Problems
) -> Iterator[Record]:
    """Walk over the lines that have something to learn from; `names` gains those of their own."""
    for number, line in json_lines(file, problems):
        where = f"line {number}"
        try:
            size = size_of(line)
            found = folder.find(str(line["filename"]))
        except WRONG:
            note(problems, checks.NO_RECORD, where)
            continue
        if found is not None:
            annotations = read_instances(line, size, names, problems, where)
            caption, regions = read_regions(line, size, names, problems, where)
            if caption is not None or "detection" in line:
                yield Record(number, found, size, (*annotations, *regions), caption)


def _label_map(file: Path) -> dict[int, str]:
    """Read the label map beside a file: the only one, or the one that shares the file's name."""
    maps = sorted(file.parent.glob("*label_map*.json"))
    if len(maps) > 1:
        own = [m for m in maps if file.stem.startswith(m.stem.removesuffix("_label_map"))]
        maps = own or [m for m in maps if m.name == "label_map.json"]
    if not maps:
        return {}
    if len(maps) > 1:
        raise ValueError(
            f"{[m.name for m in maps]} could all name the labels of {str(file)!r}; leave one of "
            "them beside it"
        )
    try:
        labels = read_json(maps[0].read_bytes())
        return {int(i): checks.category_name({"name": name}) for i, name in labels.items()}
    except (OSError, *WRONG) as error:
        raise ValueError(
            f'{str(maps[0])!r} is no label map ({error}); it needs the form {{"0": "person"}}'
        ) from error


def _line(record: Record, labels: Mapping[str, int], names: Mapping[int, str]) -> dict[str, Any]:
    """Make the JSON of a record; a region has one box, all that some readers take."""
    instances, regions = [], []
    for annotation in record.annotations:
        entry: dict[str, Any] = {"bbox": annotation.box}
        if annotation.crowd:
            entry["iscrowd"] = 1
        if annotation.category is not None:
            entry["category"] = names[annotation.category]
            entry["label"] = labels[entry["category"]]
        if record.caption is not None and annotation.tokens_positive:
            entry["phrase"] = phrase_of(record.caption, annotation.tokens_positive)
            entry["tokens_positive"] = annotation.tokens_positive
            regions.append(entry)
        elif annotation.category is not None:
            instances.append(entry)
        else:
            raise ValueError(
                f"image {record.image_id} ({record.file_name}) has a box with neither a category "
                "nor a phrase, which odvg cannot hold; correct or remove it"
            )
    line: dict[str, Any] = {
        "filename": record.file_name,
        "height": record.size[0],
        "width": record.size[1],
    }
    if instances or record.caption is None:
        line["detection"] = {"instances": instances}
    if record.caption is not None:
        line["grounding"] = {"caption": record.caption, "regions": regions}
    return line
