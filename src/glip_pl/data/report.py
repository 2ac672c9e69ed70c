"""What `glip data` tells of a data set, in lines of text."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.common.checks import CHANGES
from glip_pl.data.formats.common.records import AnnotationSet, Format

log = logging.getLogger(__name__)

_EXAMPLES = 3
_LONGEST = 120
_NAMES = 20
_STRIP = 20  # An image of this ratio has 66 pixels of 1,333 across.
# What a box or an image loses in a format that has no place for it.
_LOSSES = {
    "boxes": "{} boxes",
    "captions": "captions of {} records; boxes without a category are named by their phrases, and "
    "those that several captions name alike are one",
    "categories": "categories of {} boxes",
    "crowd": "that {} boxes are around crowds; they become ordinary boxes",
    "score": "scores of {} boxes; they become boxes that a person drew",
    "phrase_types": "types of the phrases of {} boxes",
    "absent": "which categories {} images were searched for; all that have no box count as absent",
    "not_exhaustive": "of which categories {} images may show more",
}


def count_of(annotation_set: AnnotationSet) -> str:
    """Count the images, boxes and captions of a set."""
    records = columns_of(annotation_set.records)
    files = len(set(records.file_names()))
    boxes, captions = int(records.box_counts.sum()), int(records.has_captions.sum())
    return f"{files} images, {boxes} boxes" + (f", {captions} captions" if captions else "")


def describe(annotation_set: AnnotationSet, oriented: int) -> list[str]:
    """Return what a set holds that is no problem.

    Args:
        annotation_set: The set.
        oriented: How many of its images have an EXIF orientation.
    """
    records = columns_of(annotation_set.records)
    captions = int(records.has_captions.sum())
    files = Counter(records.file_names())
    boxed = set(records.take(records.box_counts > 0).file_names())
    sides = np.sort(records.sizes, axis=1)
    facts = {
        "images without boxes": len(files) - len(boxed),
        "boxes around crowds": records.count_boxes("crowd"),
        "boxes of a detector, with a score": records.count_boxes("has_score"),
        "boxes linked to a phrase": int(records.count_linked().sum()),
        "images that were searched for some categories only": int(records.was_searched.sum()),
        "images that EXIF turns or mirrors": oriented,
        f"images more than {_STRIP} times as long as wide, of whose width resizing leaves little": (
            int((sides[:, 1] > _STRIP * sides[:, 0]).sum())
        ),
        "files that several records name": sum(count > 1 for count in files.values()),
    }
    if captions:
        del facts["files that several records name"]
    lines = [f"  {count} {fact}" for fact, count in facts.items() if count]
    lines += [f"  {count} x {kind} is not read" for kind, count in annotation_set.unread.items()]
    names = annotation_set.names
    lines += [
        f"  {names[i]!r} (id {i}) has no box and others are a kind of it; leave_out: [{i}] of a "
        "training set leaves it out of prompts"
        for i in annotation_set.roots
    ]
    if names:
        boxes_of = records.count_categories()
        counted = sorted(((boxes_of[i], name) for i, name in names.items()), reverse=True)
        lines.append(f"  {len(names)} categories, {_describe_ids(names)}:")
        lines += [f"    {line}" for line in _table(counted)]
    return lines


def _describe_ids(names: Mapping[int, str]) -> str:
    """Return how categories are numbered: "1 to 90 with 10 gaps"."""
    if not names:
        return "no categories"
    low, high = min(names), max(names)
    gaps = high - low + 1 - len(names)
    return f"ids {low} to {high}" + (f" with {gaps} gaps" if gaps else "")


def _table(counted: list[tuple[int, str]]) -> list[str]:
    """List categories with their boxes, the most and the fewest where there are many."""
    cells = [f"{_shown(name)} {count}" for count, name in counted]
    if len(cells) <= _NAMES:
        return [", ".join(cells)]
    half = _NAMES // 2
    empty = sum(count == 0 for count, _ in counted)
    shown = [cell for cell, (count, _) in zip(cells, counted, strict=True) if count]
    lines = [f"most: {', '.join(shown[:half])}", f"rarest: {', '.join(shown[half:][-half:])}"]
    return lines + ([f"without a box: {empty}"] if empty else [])


def list_problems(problems: Problems) -> list[str]:
    """Return what of a split is left out or changed, by kind, with a few examples."""
    lines = []
    for kind, found in problems.items():
        shown = [_shown(example) for example in found[:_EXAMPLES]]
        examples = "; ".join(shown) + ("; ..." if len(found) > _EXAMPLES else "")
        what = "to be corrected" if kind in CHANGES else "left out"
        lines.append(f"{len(found)} {what}: {kind} ({examples})")
    return lines


def _shown(text: str) -> str:
    r"""Write words of anybody on one line of a terminal: a line end as \n, and not without end."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def list_losses(writer: Format, sets: Mapping[str, AnnotationSet]) -> list[str]:
    """Return what a format has no place for, and what of the source is not read."""
    lost = writer.losses(sets)
    lines = [f"{writer.name} cannot hold {_LOSSES[kind].format(n)}" for kind, n in lost.items()]
    unread: Counter[str] = Counter()
    for annotation_set in sets.values():
        unread.update(annotation_set.unread)
    return lines + [f"not read, so not written: {kind} ({n} times)" for kind, n in unread.items()]


def tell_problems(source: str | Path, problems: Problems, *, strict: bool) -> None:
    """Warn once of all that is wrong with a set, with a few examples each, or refuse it.

    Raises:
        ValueError: Something is wrong, and `strict` asks for nothing to be.
    """
    if not problems:
        return
    lines = "\n  ".join([f"{source}:", *list_problems(problems)])
    if strict:
        raise ValueError(
            f"{lines}\ncorrect the data set, or leave out data.strict to go on without "
            "what is faulty"
        )
    log.warning("%s", lines)
