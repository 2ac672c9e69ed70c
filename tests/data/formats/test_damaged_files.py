"""Readers get files that were damaged at random: they count what is wrong or refuse in one line."""

import random
import shutil
from pathlib import Path

import pytest
from helpers import write_image

from glip_pl.data.formats import FORMATS, Annotation, AnnotationSet, Record, detect_format

TEXTS = (".json", ".jsonl", ".xml", ".txt", ".yaml", ".csv", ".p", ".tar")
WORDS = (
    "null",
    "-1",
    "1e999",
    "9223372036854775808",
    '""',
    "[]",
    "{}",
    "\u200b",
    "<",
    "NaN",
    "\x00",
)
ROUNDS = 25


READ_ONLY = ("flickr30k", "masks", "coco_panoptic")


def written(form: str, root: Path) -> list[Path]:
    write_image(root / "source" / "a.png", 40, 60)
    box = Annotation((1, 2, 11, 22), 1, tokens_positive=((0, 3),))
    record = Record(1, "a.png", (40, 60), (box, Annotation((5, 5, 11, 12), 2)))
    names = {1: "cat", 2: "dog"}
    if form in ("mdetr", "captions", "refcoco"):
        plain = (Annotation(box.box, tokens_positive=((0, 3),)),)
        record, names = Record(1, "a.png", (40, 60), plain, "cat"), {}
    held = AnnotationSet(root / "source", [record], names)
    FORMATS[form].write({"train": held}, root / "set")
    return [p for p in sorted((root / "set").rglob("*")) if p.suffix in TEXTS and p.is_file()]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut, double, or overwrite a part, or put a word where a value was."""
    start = chance.randrange(len(content))
    stop = min(len(content), start + chance.randrange(1, 12))
    part = chance.choice(
        [b"", content[start:stop] * 2, chance.randbytes(3), chance.choice(WORDS).encode()]
    )
    return content[:start] + part + content[stop:]


@pytest.mark.parametrize("form", [f for f in FORMATS if f not in READ_ONLY])
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, form):
    files = written(form, tmp_path)
    chance = random.Random(form)
    for turn in range(ROUNDS):
        root = tmp_path / f"copy{turn}"
        shutil.copytree(tmp_path / "set", root)
        for file in [root / f.relative_to(tmp_path / "set") for f in files]:
            file.write_bytes(damaged(file.read_bytes() or b" ", chance))
        try:
            for held in FORMATS[form].read(root).values():
                assert all(isinstance(record, Record) for record in held.records)
            detect_format(root)
        except ValueError:
            continue
