"""What the formats for detection share: every box has a category, every image file one record."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from glip_pl.data.formats.columns.builder import by_file, columns_of
from glip_pl.data.formats.columns.rows import NO_CATEGORY
from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.prompts import clean_name

UNNAMED = "object"
_SPLIT_FOLDER = re.compile(r"(?i)(train|val|test)(?:id(?:ation)?)?\d*$")


def folder_split(name: str) -> str | None:
    """Read the split that a folder is named after: "Valid" and "val2017" are "val"."""
    found = _SPLIT_FOLDER.match(name)
    return found[1].lower() if found else None


def as_detection(sets: Mapping[str, AnnotationSet]) -> dict[str, AnnotationSet]:
    """Turn sets with captions into sets without.

    A box that has no category takes the words of its phrase for one, in small letters, and the
    records of one image file become one, in which a box that several captions name alike is one.
    """
    first = max((i for s in sets.values() for i in s.names), default=0) + 1
    added: dict[str, int] = {}
    converted = {}
    for split, annotation_set in sets.items():
        own = {name: i for i, name in annotation_set.names.items()}
        if _is_detection(annotation_set):
            converted[split] = annotation_set
            continue

        def category_of(phrase: str, own: dict[str, int] = own) -> int:
            if phrase not in own:
                own[phrase] = added.setdefault(phrase, first + len(added))
            return own[phrase]

        joined = (_joined(records, category_of) for records in by_file(annotation_set.records))
        converted[split] = replace(annotation_set, records=columns_of(joined))
    # All splits have all phrases, as they have all categories.
    for split, held in converted.items():
        known = set(held.names.values())
        new = {category: phrase for phrase, category in added.items() if phrase not in known}
        converted[split] = replace(held, names=dict(sorted(held.names.items())) | new)
    return converted


def _is_detection(annotation_set: AnnotationSet) -> bool:
    """Whether a set has no captions, a category for each box, and every file once."""
    records = columns_of(annotation_set.records)
    has_words = bool({"caption", "span", "kind"} & records.columns.keys())
    if has_words or NO_CATEGORY in records.columns["used_category"]:
        return False
    return len(set(records.file_names())) == len(records)


def _phrase(record: Record, annotation: Annotation) -> str:
    caption = record.caption or ""
    words = " ".join(caption[a:b] for a, b in annotation.tokens_positive)
    return clean_name(words).lower() or UNNAMED


def _without_words(annotation: Annotation) -> Annotation:
    """Strip what counts in a caption, so that a box that two captions name is the same box."""
    if annotation.tokens_positive or annotation.phrase_types:
        return replace(annotation, tokens_positive=(), phrase_types=())
    return annotation


def _joined(records: Sequence[Record], category_of: Callable[[str], int]) -> Record:
    """Join the records of one file."""
    annotations = list[Annotation]()
    for record in records:
        for annotation in record.annotations:
            if annotation.category is None:
                category = category_of(_phrase(record, annotation))
                annotation = replace(annotation, category=category)
            annotations.append(_without_words(annotation))
        if record.caption is not None and record is not records[0]:
            # Captions of one image name its boxes again.
            annotations = list(dict.fromkeys(annotations))
    return replace(records[0], annotations=tuple(annotations), caption=None)


def all_names(sets: Iterable[AnnotationSet]) -> list[str]:
    """List the category names of all splits once, for formats that number them anew."""
    return list(dict.fromkeys(name for s in sets for _, name in sorted(s.names.items())))


def subfolders(path: Path) -> list[Path]:
    """List the folders in a folder, in the order of their names."""
    return sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
