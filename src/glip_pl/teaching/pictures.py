"""What a teacher labelled, to look at: samples with their boxes, and its scores."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from glip_pl.data.formats import AnnotationSet
from glip_pl.data.formats.common.records import Annotation, Record
from glip_pl.inference.sheet import picture_of, sheet_of
from glip_pl.teaching.statistics import Statistics, scores_chart

_SAMPLES = 16


class Samples:
    """Some of the lines, each as likely as any other; which ones follows from their number.

    Attributes:
        seen: How many lines there were.
        lines: Those that were drawn.
    """

    def __init__(self) -> None:
        self.seen, self.lines = 0, list[Mapping[str, Any]]()
        self._draw = random.Random(0)

    def add(self, line: Mapping[str, Any]) -> None:
        """Look at one more line of training data."""
        self.seen += 1
        if len(self.lines) < _SAMPLES:
            self.lines.append(line)
            return
        place = self._draw.randrange(self.seen)
        if place < _SAMPLES:
            self.lines[place] = line


def write_pictures(
    output: Path,
    statistics: Statistics,
    precision: Sequence[tuple[float, float, int]],
    samples: Samples,
    images: Path,
) -> list[Path]:
    """Write ``samples.jpg`` and ``scores.png``.

    Args:
        output: Folder of the files.
        statistics: Counts of all boxes.
        precision: Share of right boxes per bin of scores, where it is known.
        samples: Lines to draw.
        images: Folder of their images.
    """
    sheet, chart = output / "samples.jpg", output / "scores.png"
    found = AnnotationSet(images, [_record(line) for line in samples.lines])
    pictures = [picture_of(found, record) for record in found.records]
    Image.fromarray(sheet_of(pictures)).save(sheet, quality=90)
    Image.fromarray(scores_chart(statistics, precision)).save(chart)
    return [sheet, chart]


def _record(line: Mapping[str, Any]) -> Record:
    grounding = line["grounding"]
    annotations = tuple(
        Annotation(
            tuple(region["bbox"]),
            tokens_positive=tuple(map(tuple, region["tokens_positive"])),
            score=region["score"],
            crowd=bool(region.get("iscrowd")),
        )
        for region in grounding["regions"]
    )
    size = (line["height"], line["width"])
    return Record(0, line["filename"], size, annotations, grounding["caption"])
