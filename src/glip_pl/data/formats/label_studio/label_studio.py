"""Label Studio: a JSON list of tasks, each an image with the regions that people drew.

The export "JSON" and the short one, "JSON-MIN". Images have the names under which they were
uploaded, with eight letters and a dash before them, or addresses of the server; the export holds no
image files, so that they are found by the names that they had before. See
https://labelstud.io/guide/export.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.detection_sets import all_names, as_detection
from glip_pl.data.formats.common.file_names import plain_name
from glip_pl.data.formats.common.image_files import IMAGE_SUFFIXES, place_images, read_sizes
from glip_pl.data.formats.common.json_lists import list_of_objects
from glip_pl.data.formats.common.paths import FolderFinder, ImageFolder, sources
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Format, Record, Splits
from glip_pl.data.formats.common.text_files import decode, is_readable
from glip_pl.data.formats.common.values import objects, whole_number
from glip_pl.data.formats.label_studio.regions import (
    region_corners,
    region_labels,
    region_size,
    write_region,
)

NO_IMAGE = "task without the name of an image"
SEVERAL = "task of several images, any of which its regions may show"
# What is counted as not read.
CANCELLED, FURTHER = "task that was skipped", "further annotation of a task"
CONFIG = "label_config.xml"
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


class LabelStudio(Format):
    """Label Studio's tasks with regions; of several people's the first is taken."""

    name: ClassVar[str] = "label_studio"
    holds: ClassVar[frozenset[str]] = frozenset({"categories"})

    def detect(self, path: Path) -> bool:
        """Recognise by the first bytes of the JSON files: a list of tasks."""
        return bool(sources(path, (".json",), _is_tasks))

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read a file of tasks, or those of a folder or of its ``annotations``.

        Categories are numbered in the order of ``label_config.xml``, where there is one, else of
        their names. A task that only a model has labelled gives the model's boxes, with scores.

        Raises:
            ValueError: No file is in this form, or it cannot be read.
        """
        return self.read_with_images(path, None)

    def read_with_images(self, path: Path, images: Path | None) -> Mapping[str, AnnotationSet]:
        """Read the same files, whose images may lie in a named folder."""
        files = sources(path, (".json",), _is_tasks, needed=self.name)
        return Splits({split: partial(_read_file, file, images) for split, file in files.items()})

    def write(self, sets: Mapping[str, AnnotationSet], path: Path) -> None:
        """Write ``annotations/SPLIT.json``, the images, and the labels for Label Studio's setup."""
        placed = place_images(as_detection(sets), path / "images")
        (path / "annotations").mkdir()
        for split, held in placed.items():
            with (path / "annotations" / f"{split}.json").open("w") as opened:
                for place, record in enumerate(held.records):
                    opened.write((", " if place else "[") + json.dumps(_task(record, held.names)))
                opened.write("]" if len(held.records) else "[]")
        view = ElementTree.Element("View")
        ElementTree.SubElement(view, "Image", name="image", value="$image")
        labels = ElementTree.SubElement(view, "RectangleLabels", name="label", toName="image")
        for name in all_names(placed.values()):
            ElementTree.SubElement(labels, "Label", value=name)
        ElementTree.ElementTree(view).write(path / CONFIG, encoding="utf-8")


def _is_tasks(file: Path) -> bool:
    with file.open("rb") as opened:
        head = decode(opened.read(1 << 16)).lstrip()
    whole = '"data"' in head and any(
        f'"{key}"' in head for key in ("annotations", "predictions", "completions")
    )
    return head.startswith("[") and (whole or '"original_width"' in head)


def _task(record: Record, names: Mapping[int, str]) -> dict[str, Any]:
    regions = [
        write_region(annotation.box, record.size, names[annotation.category or 0])
        for annotation in record.annotations
    ]
    return {"data": {"image": record.file_name}, "annotations": [{"result": regions}]}


def _read_file(file: Path, images: Path | None = None) -> AnnotationSet:
    problems: Problems = {}
    unread: Counter[str] = Counter()
    tasks = list_of_objects(file)
    names, numbers = dict[int, str](), dict[int, int | None]()
    for place, task in enumerate(tasks, start=1):
        shown = _images_of(task)
        if len(shown) != 1:
            note(problems, SEVERAL if shown else NO_IMAGE, f"task {task.get('id', place)}")
        else:
            names[place], numbers[place] = shown[0], whole_number(task.get("id"))
    folder, found = _image_files(FolderFinder(file, only=images), list(names.values()), problems)
    kept = {place: name for place, name in zip(names, found, strict=True) if name is not None}
    sizes = read_sizes([str(folder.path / name) for name in kept.values()])
    headers = dict(zip(kept, sizes, strict=True))
    own_ids = len(set(numbers.values()) - {None}) == len(numbers)
    listed = list(dict.fromkeys(_config_labels(file)))
    # Labels are numbered as they come, and in the order of their names at the end.
    ids = {label: number for number, label in enumerate(listed, start=1)}

    def read() -> Iterator[Record]:
        for place, task in enumerate(tasks, start=1):
            if place not in kept:
                continue
            name, regions = kept[place], _regions(task, unread)
            size = region_size(regions) or headers[place]
            if isinstance(size, str):
                note(problems, size, name)
                continue
            boxes = tuple(
                Annotation(box, ids.setdefault(label, len(ids) + 1), score=score)
                for label, box, score in _boxes(regions, size, name, problems, unread)
            )
            yield Record((numbers[place] if own_ids else place) or 0, name, size, boxes)

    records = folder.certain(columns_of(read()))
    ordered = (*listed, *sorted(ids.keys() - set(listed)))
    held = dict(enumerate(ordered, start=1))
    checks.note_same_names(held, problems)
    records = records.with_categories({ids[label]: number for number, label in held.items()})
    return AnnotationSet(folder.path, records, held, problems=problems, unread=dict(+unread))


def _images_of(task: Mapping[str, Any]) -> list[str]:
    """Find the names of a task's images: the one under "image", or what looks like one."""
    data = task.get("data", task)
    values = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
    if values and isinstance(data.get("image"), str):
        return [str(data["image"])]
    shown = (v for v in values if plain_name(v).lower().endswith(IMAGE_SUFFIXES))
    return list(dict.fromkeys(shown))


def _image_files(
    finder: FolderFinder, names: Sequence[str], problems: Problems
) -> tuple[ImageFolder, list[str | None]]:
    """Find each task's image file, by its whole name or as it was called before the upload."""
    plain = [plain_name(name) for name in names]
    probe = finder(plain, {})
    if not any(probe.find(name) for name in plain):
        before = [_UPLOADED.sub("", name.rpartition("/")[2]) for name in plain]
        uses = Counter(before)
        folder = finder(before, problems)
        found = list[str | None]()
        for name, own in zip(plain, before, strict=True):
            if uses[own] > 1:  # Each may be any of the uploads of this name.
                note(problems, checks.UNSURE_FILE, name)
            found.append(folder.find(own) if uses[own] == 1 else None)
        return folder, found
    folder = finder(plain, problems)
    return folder, [folder.find(name) for name in plain]


def _config_labels(file: Path) -> list[str]:
    """Read the labels of the set's ``label_config.xml``, which some may have no region of."""
    places = (file.parent / CONFIG, file.parent.parent / CONFIG)
    config = next((place for place in places if place.is_file()), None)
    if config is None:
        return []
    try:
        root = ElementTree.fromstring(decode(config.read_bytes()))
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(
            f"{str(config)!r} cannot be read ({error}); export the labelling setup again, or "
            "remove it"
        ) from error
    return [label for tag in root.iter("Label") if (label := tag.get("value"))]


def _regions(task: Mapping[str, Any], unread: Counter[str]) -> list[dict[str, Any]]:
    """Choose the regions of a task: a person's, else a model's; all are lists in the short form."""
    if "data" not in task:
        lists = [value for value in task.values() if isinstance(value, list)]
        return [r for held in lists for r in objects(held) if "original_width" in r]
    drawn = objects(task.get("annotations") or task.get("completions"))
    usable = [entry for entry in drawn if not entry.get("was_cancelled")]
    usable.sort(key=lambda entry: not entry.get("ground_truth"))
    unread[CANCELLED] += len(drawn) - len(usable)
    unread[FURTHER] += max(len(usable) - 1, 0)
    chosen = usable or ([] if drawn else objects(task.get("predictions")))
    return objects(chosen[0].get("result")) if chosen else []


def _boxes(
    regions: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    name: str,
    problems: Problems,
    unread: Counter[str],
) -> list[tuple[str, tuple[float, float, float, float], float | None]]:
    """Read label, box and score of each region, in as many entries as it has labels."""
    found = []
    for region in regions:
        labels = region_labels(region)
        if labels is None:
            unread[f"region of type {str(region.get('type', 'unknown'))[:40]}"] += 1
            continue
        corners, beyond = region_corners(region, size)
        box, kind = checked_box(corners, size)
        note(problems, kind, f"{', '.join(labels)} of {name}: {list(corners)}")
        if not labels or not all(label.strip() and is_readable(label) for label in labels):
            note(problems, checks.NO_LABEL, f"{name}: {list(corners)}")
        elif box is not None:
            if beyond is not None:
                unread[beyond] += 1
            score = region.get("score")
            probability = float(score) if isinstance(score, int | float) else None
            found += [(label, box, probability) for label in labels]
    return found
