"""YOLO: one text file a picture, a line a box, in parts of the picture's width and height.

``data.yaml`` (`description` knows its kin) names the categories, numbered from 0, and the pictures
of ``train``, ``val`` and ``test``: a folder, a list of folders, or a text file that lists pictures.
The labels of
``images/a.jpg`` stand in ``labels/a.txt``: "category x y width height", the middle of the box; a
picture without such a file shows nothing. A line with more numbers is an outline, of which the box
around it is taken, as training with it does. See https://docs.ultralytics.com/datasets/detect.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import yaml

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.detection_sets import all_names, as_detection
from glip_pl.data.formats.common.image_files import place_images
from glip_pl.data.formats.common.records import AnnotationSet, Format, Splits
from glip_pl.data.formats.yolo.description import (
    DESCRIPTION,
    SPLITS,
    find_description,
    read_description,
)
from glip_pl.data.formats.yolo.yolo_labels import label_file, label_line, read_labels

NO_IMAGES = "split whose images are not there"


class Yolo(Format):
    """YOLO's labels for detection, as Ultralytics reads them."""

    name: ClassVar[str] = "yolo"
    holds: ClassVar[frozenset[str]] = frozenset({"categories"})

    def detect(self, path: Path) -> bool:
        """Return whether a path is a description, or a folder with one or with names and labels."""
        return find_description(path) is not None

    def read(self, path: Path) -> Mapping[str, AnnotationSet]:
        """Read the splits of a description; outlines become boxes, and a sixth number a score.

        Raises:
            ValueError: The description cannot be read, or none of its images are there.
        """
        described = read_description(path)
        readers: dict[str, Callable[[], AnnotationSet]] = {}
        first, every = 1, set[str]()
        for split, value in described.splits.items():
            problems: Problems = {kind: [*found] for kind, found in described.problems.items()}
            images = described.images_of(split, problems)
            every.update(images)
            if images:
                readers[split] = partial(read_labels, images, described, first, problems, every)
                first += len(images)
            elif split in SPLITS and value:
                note(problems, NO_IMAGES, str(value))
                empty = partial(AnnotationSet, described.base, [], described.names)
                readers[split] = partial(empty, problems=problems)
        if first == 1:
            raise ValueError(
                f"{str(described.file)!r} leads to no image below {str(described.base)!r}; correct "
                "its `path`, `train` and `val`"
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
                # Where the reader looks, whatever folders the name has.
                file = Path(label_file(str(folder / record.file_name)))
                file.parent.mkdir(parents=True, exist_ok=True)
                lines = [
                    label_line(a, record.size, number[placed.names[a.category or 0]])
                    for a in record.annotations
                ]
                file.write_text("".join(lines))
            described[split] = f"images/{split}"
        described["names"] = dict(enumerate(names))
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
        (path / DESCRIPTION).write_text(text, encoding="utf-8")
