"""What a teacher labelled, in figures: how often each phrase, and with which scores."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from glip_pl.inference.chart import line_chart
from glip_pl.teaching.lessons import taught_by
from glip_pl.teaching.quality import BINS, thing_of


@dataclass
class OfPhrase:
    """Counts of one phrase, without its article.

    Attributes:
        boxes: Boxes that teach it.
        withheld: Images in which the teacher was sure of no box of it.
        scores: Sum of the scores of `boxes`.
    """

    boxes: int = 0
    withheld: int = 0
    scores: float = 0.0


@dataclass
class Statistics:
    """Counts over all images.

    Attributes:
        phrases: By phrase.
        kept: Boxes that teach, by tenths of the score.
        unsure: Boxes of which the teacher was not sure, likewise.
    """

    phrases: dict[str, OfPhrase] = field(default_factory=lambda: defaultdict(OfPhrase))
    kept: list[int] = field(default_factory=lambda: [0] * BINS)
    unsure: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, line: Mapping[str, Any] | None, unsure: Sequence[Mapping[str, Any]]) -> None:
        """Count an image: its line of training data, if any, and the unsure boxes."""
        for region in unsure:
            self.unsure[_bin(region["score"])] += 1
        if line is None:
            return
        for region in taught_by(line):
            self.kept[_bin(region["score"])] += 1
            phrase = self.phrases[thing_of(region["phrase"])]
            phrase.boxes += 1
            phrase.scores += region["score"]
        for withheld in line["teacher"]["withheld"]:
            self.phrases[thing_of(withheld)].withheld += 1

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per phrase, the most frequent first."""
        ordered = sorted(self.phrases.items(), key=lambda item: (-item[1].boxes, item[0]))
        return [
            {
                "phrase": name,
                "boxes": found.boxes,
                "withheld": found.withheld,
                "mean_score": round(found.scores / found.boxes, 4) if found.boxes else None,
            }
            for name, found in ordered
        ]


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of `Statistics.rows` as a table."""
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    schema = arrow.schema(
        [
            ("phrase", arrow.string()),
            ("boxes", arrow.int64()),
            ("withheld", arrow.int64()),
            ("mean_score", arrow.float64()),
        ]
    )
    parquet.write_table(arrow.Table.from_pylist(list(rows), schema=schema), path)


def scores_chart(
    statistics: Statistics, precision: Iterable[tuple[float, float, int]]
) -> np.ndarray:
    """Draw the share of boxes by score, and where it is known how often they are right.

    Args:
        statistics: Counts.
        precision: Per bin its lower edge, the precision, and how many boxes it has.

    Returns:
        uint8 [H, W, 3].
    """
    total = max(1, sum(statistics.kept) + sum(statistics.unsure))
    lines = {
        "share of boxes, teach": _shares(statistics.kept, total),
        "share of boxes, unsure": _shares(statistics.unsure, total),
        "precision": [(_middle(edge), right) for edge, right, _ in precision],
    }
    drawn = {name: points for name, points in lines.items() if points}
    return line_chart(drawn, title="What the teacher found", x="score", y="share")


def _bin(score: float) -> int:
    return min(int(score * BINS), BINS - 1)


def _middle(edge: float) -> float:
    return edge + 0.5 / BINS


def _shares(counts: Sequence[int], total: int) -> list[tuple[float, float]]:
    return [(_middle(b / BINS), count / total) for b, count in enumerate(counts) if count]
