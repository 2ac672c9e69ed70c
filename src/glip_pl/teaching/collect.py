"""From labelled shards to a data set to train on, once all shards are there."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from glip_pl.labelling.shard_file import read_records
from glip_pl.system.aside import written_aside
from glip_pl.teaching.duplicates import Fingerprint, Seen
from glip_pl.teaching.pictures import Samples, write_pictures
from glip_pl.teaching.quality import Truth
from glip_pl.teaching.statistics import Statistics, write_parquet

DUPLICATE = "image that came before, or nearly"
LESSONS, DESCRIPTOR, MANIFEST = "lessons.jsonl", "data.yaml", "manifest.json"
_SHOWN_PHRASES = 1000  # In the manifest; the table has all.


@dataclass(frozen=True)
class Taught:
    """What was written.

    Attributes:
        images: Images that teach.
        boxes: Their boxes.
        left_out: Images that teach nothing, by reason.
        precision: Per bin of scores its lower edge, the share of right boxes, and their number;
            empty without true boxes.
        files: All that was written.
    """

    images: int
    boxes: int
    left_out: Mapping[str, int]
    precision: Sequence[tuple[float, float, int]]
    files: Sequence[Path]


def collect(
    shards: Sequence[Path],
    output: Path,
    provenance: Mapping[str, Any],
    *,
    truth: str | None = None,
) -> Taught:
    """Write the training data of all shards, its description, and what there is to know of it.

    Of images that are there twice the first one teaches. Whoever finds all shards there may do it:
    the bytes are the same.

    Args:
        shards: Labelled shards, in order.
        output: Folder of the files.
        provenance: Who labelled: weights, thresholds, version.
        truth: Annotations by people of some of the images, in any form that `glip data check`
            reads, for the precision of the boxes by score.

    Raises:
        ValueError: Nothing teaches, or `truth` cannot be read or is of other images.
    """
    quality = None if truth is None else Truth.read(truth)
    statistics, left_out, samples = Statistics(), Counter[str](), Samples()
    root = _root(line["filename"] for line, _ in _first(shards, Counter()) if line is not None)
    lessons = output / LESSONS
    with written_aside(lessons) as file:
        for line, record in _first(shards, left_out):
            statistics.add(line, record["unsure"])
            if quality is not None:
                quality.judge(record["image"], line, record["unsure"])
            if line is not None:
                line = {**line, "filename": os.path.relpath(line["filename"], root)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                samples.add(line)
    if not samples.seen:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        raise ValueError(f"no image teaches anything: {reasons}; lower --keep or look at the texts")
    precision = [] if quality is None else quality.precision()
    _describe(output / DESCRIPTOR, root)
    files = [lessons, output / DESCRIPTOR, output / MANIFEST]
    files += write_pictures(output, statistics, precision, samples, root)
    if find_spec("pyarrow") is not None:
        files.append(output / "phrases.parquet")
        write_parquet(files[-1], statistics.rows())
    taught = Taught(samples.seen, sum(statistics.kept), left_out, precision, files)
    with written_aside(output / MANIFEST) as file:
        manifest = _manifest(taught, statistics, provenance, _digest(lessons))
        file.write(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return taught


def _manifest(
    taught: Taught, statistics: Statistics, provenance: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    return {
        "teacher": dict(provenance),
        "images": taught.images,
        "boxes": taught.boxes,
        "left_out": dict(Counter(taught.left_out).most_common()),
        "boxes_by_tenth_of_score": {"teach": statistics.kept, "unsure": statistics.unsure},
        "precision": [
            {"score_from": edge, "precision": round(right, 4), "boxes": count}
            for edge, right, count in taught.precision
        ],
        "lessons_sha256": digest,
        "phrases": statistics.rows()[:_SHOWN_PHRASES],
    }


def _first(
    shards: Sequence[Path], left_out: Counter[str]
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """Walk over the images that were asked, without those that came before.

    Yields:
        The line of training data, or None where no box is sure, and the record as a whole.
    """
    seen = Seen()
    for shard in shards:
        for record in read_records(shard):
            if "error" in record:
                left_out["image that cannot be read"] += 1
                continue
            if "skipped" in record:
                left_out[record["skipped"]] += 1
            if "content" not in record:
                continue
            own = Fingerprint(record["content"], int(record["picture"], 16))
            if not seen.is_new(record["image"], own):
                left_out[DUPLICATE] += "line" in record
                continue
            yield record.get("line"), record


def _root(names: Iterable[str]) -> Path:
    """Return the folder that all images have in common; a tar file is none."""
    common: str | None = None
    for name in names:
        folder = os.path.dirname(os.path.abspath(name))
        common = folder if common is None else os.path.commonpath([common, folder])
    root = Path(common or ".").absolute()
    while ".tar" in {part.suffix for part in (root, *root.parents)}:
        root = root.parent
    return root


def _describe(path: Path, images: Path) -> None:
    """Write the description that `glip fit --data` takes."""
    train = {"annotations": LESSONS, "images": str(images)}
    data = {
        "root": str(path.parent.absolute()),
        "train": [{"class_path": "glip_pl.data.PhraseGrounding", "init_args": train}],
    }
    with written_aside(path) as file:
        file.write("# What a teacher found of captions; it has nothing to validate on.\n")
        yaml.safe_dump({"data": data}, file, sort_keys=False, allow_unicode=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
