"""From labelled shards to one file for another program, once all shards are there."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from glip_pl.labelling.formats import LABEL_FORMATS, Record, write_parquet
from glip_pl.labelling.shard_file import read_head, read_records
from glip_pl.system.aside import written_aside

PARQUET = "parquet"
FORMATS = (*LABEL_FORMATS, PARQUET)


def export(
    shards: Sequence[Path], output: Path, formats: Sequence[str], *, uncertain_first: bool = False
) -> list[Path]:
    """Write the records of all shards in each of some formats; images that failed are left out.

    Whoever finds all shards there may do it: the bytes are the same.

    Args:
        shards: Labelled shards, in order.
        output: Folder of the files.
        formats: Names of `FORMATS`.
        uncertain_first: Put images first whose least sure box is least sure.

    Returns:
        The files.
    """
    names = _names(shards)
    written = []
    for name in formats:
        if name == PARQUET:
            folder = output / PARQUET
            folder.mkdir(parents=True, exist_ok=True)
            for shard in shards:
                head = {key: str(value) for key, value in asdict(read_head(shard)).items()}
                write_parquet(folder / f"{shard.stem}.parquet", _good(shard), head)
            written.append(folder)
            continue
        form = LABEL_FORMATS[name]
        path = output / form.file
        with written_aside(path) as file:
            form.write(file, _records(shards, uncertain_first), names)
        written.append(path)
    return written


def uncertainty(record: Record) -> float:
    """Return how unsure a model is of an image: of its least sure box; 0 without a box."""
    return max((1 - found["score"] for found in record["detections"]), default=0.0)


def _records(shards: Sequence[Path], uncertain_first: bool) -> Iterator[Record]:
    found = (record for shard in shards for record in _good(shard))
    return iter(sorted(found, key=uncertainty, reverse=True)) if uncertain_first else found


def _good(shard: Path) -> Iterator[Record]:
    return (record for record in read_records(shard) if "detections" in record)


def _names(shards: Sequence[Path]) -> list[str]:
    """List all phrases: those of the common prompt in its order, then others as they come."""
    names = dict.fromkeys(read_head(shards[0]).phrases if shards else ())
    for shard in shards:
        for record in _good(shard):
            names.update(dict.fromkeys(found["phrase"] for found in record["detections"]))
    return list(names)
