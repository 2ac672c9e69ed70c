"""A line of a YOLO label: a box, a box with a score, or an outline, and what else people write.

Five numbers are a box and an odd count from seven on is an outline. A sixth number is a score where
all of a split lie between 0 and 1; else it is an angle or the number of a track, and such boxes are
left out, since an angle makes them others. Trackers write "class x y w h score track": a seventh
number that is whole and above 1 cannot belong to an outline, whose numbers are parts of the image;
and where it is whole in every line of a split, in three or more, it numbers tracks, too.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.checks import checked_box, note
from glip_pl.data.formats.common.records import Annotation, AnnotationSet
from glip_pl.data.formats.yolo.description import Description

# So many triangles do not all end at the border by chance.
_ENOUGH_LINES = 3
# Beyond it a box, or an outline, does not only reach a little out of its image.
_MOST_PART, _MOST_OF_OUTLINE = 2.0, 1.5


@dataclass
class LineReader:
    """Reads the lines of a split, all of which mean the same by their further numbers.

    Attributes:
        described: The categories, and whether lines have key points.
        found: Gains problems and what is not read.
        has_scores: Whether a sixth number is a score.
        has_tracks: Whether a seventh, whole number is a track's.
        used: How many boxes have each number of a category.
    """

    described: Description
    found: AnnotationSet
    has_scores: bool
    has_tracks: bool
    used: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(
        cls, rows: Iterable[Sequence[str]], described: Description, found: AnnotationSet
    ) -> Self:
        """Find out what the further numbers of a split's lines are."""
        has_scores, sevenths = True, Counter[str]()
        for values in rows if not described.has_keypoints else ():
            if len(values) == 6:
                score = _number(values[5])
                has_scores = has_scores and score is not None and 0 <= score <= 1
            elif len(values) == 7:
                sevenths[_kind_of_seventh(values[6])] += 1
        all_whole = set(sevenths) == {"whole"} and sevenths["whole"] >= _ENOUGH_LINES
        has_tracks = sevenths["track"] > 0 or all_whole
        return cls(described, found, has_scores, has_tracks)

    def read(self, lines: Sequence[str], size: tuple[int, int], name: str) -> list[Annotation]:
        """Read the boxes of an image, noting what is wrong by the number of the line.

        Args:
            lines: The lines of its label file.
            size: Its (height, width) in pixels.
            name: Its file name, for messages.
        """
        annotations = []
        for place, line in enumerate(lines, start=1):
            values = line.split()
            annotation, kind = self._annotation(values, size) if values else (None, None)
            note(self.found.problems, kind, f"line {place} of {name}: {line.strip()}"[:200])
            if annotation is not None:
                annotations.append(annotation)
        return annotations

    def _annotation(
        self, values: Sequence[str], size: tuple[int, int]
    ) -> tuple[Annotation | None, str | None]:
        """Read a line: the annotation, None where it is left out, and the name of its problem."""
        told = None
        if self.described.has_keypoints and len(values) > 5:
            values = values[:5]
            self._count("keypoints")
        elif len(values) == 7 and self.has_tracks and values[6].isdecimal():
            values, told = values[:6], checks.TRACK
        elif len(values) > 6:
            self._count("segmentation")
        numbers = [_number(value) for value in values]
        category, *parts = [number for number in numbers if number is not None] or [-1.0]
        if len(parts) + 1 < len(values):
            return None, checks.NO_BOX
        score = parts.pop() if len(parts) == 5 else None
        if len(parts) < 4 or len(parts) % 2:
            return None, checks.NO_BOX
        if score is not None and not self.has_scores:
            return None, checks.NOT_A_SCORE
        if category == int(category):
            self.used[int(category)] += 1
        if category not in self.described.names:
            return None, checks.UNKNOWN_CATEGORY
        if max(parts) > _MOST_PART:
            return None, checks.NO_PARTS
        if len(parts) > 4 and max(parts) > _MOST_OF_OUTLINE:
            return None, checks.NO_OUTLINE
        box, kind = checked_box(_corners(parts, size), size)
        return box and Annotation(box, int(category), score=score), kind or told

    def _count(self, what: str) -> None:
        self.found.unread[what] = self.found.unread.get(what, 0) + 1


def _kind_of_seventh(text: str) -> str:
    """Name what the last of seven numbers may be: a "track", a "whole" number, or a "part"."""
    if not text.isdecimal():
        return "part"
    return "track" if int(text) > 1 else "whole"


def _corners(parts: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Turn middle and sides, or an outline, in parts of the image into corners in pixels."""
    height, width = size
    if len(parts) == 4:
        x, y, w, h = parts
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top = min(parts[::2]), min(parts[1::2])
        right, bottom = max(parts[::2]), max(parts[1::2])
    return left * width, top * height, right * width, bottom * height


def _number(text: str) -> float | None:
    """Read a finite number; None where it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
