"""The boxes in a line of ODVG: instances of categories, and regions of phrases."""

from collections.abc import Iterator, Mapping
from typing import Any

from glip_pl.data.annotations import Box, Problems
from glip_pl.data.formats.common import checks
from glip_pl.data.formats.common.caption_spans import (
    NO_CAPTION,
    NO_LINK_LEFT,
    SPAN_OUTSIDE,
    checked_spans,
    find_phrase,
)
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.records import Annotation
from glip_pl.data.formats.common.values import is_true, objects, whole_number
from glip_pl.prompts import Span

NOT_IN_CAPTION = "phrase that is not in its caption"
AMBIGUOUS = "phrase that is more than once in its caption, without tokens_positive"


def read_instances(
    line: Mapping[str, Any],
    size: tuple[int, int],
    names: dict[int, str],
    problems: Problems,
    where: str,
) -> list[Annotation]:
    """Read the boxes of categories.

    Args:
        line: The line's object.
        size: (height, width) of its image in pixels.
        names: The label map; gains the names that only instances have.
        problems: Gains what is left out or clipped.
        where: Name of the line in them.
    """
    annotations = []
    for i, instance in enumerate(_entries(line.get("detection"), "instances")):
        named = f"instance {i} of {where}"
        category = _category(instance, names)
        given = instance.get("category")
        if category is None:
            note(problems, checks.UNKNOWN_CATEGORY, named)
            continue
        if isinstance(given, str) and not _same(given, names[category]):
            note(problems, checks.OTHER_NAME, f"{named}: {given!r}, {names[category]!r}")
            continue
        for box in _boxes(instance, size, problems, named):
            annotations.append(Annotation(box, category, crowd=is_true(instance.get("iscrowd", 0))))
    return annotations


def read_regions(
    line: Mapping[str, Any],
    size: tuple[int, int],
    names: dict[int, str],
    problems: Problems,
    where: str,
) -> tuple[str | None, list[Annotation]]:
    """Read the caption and the boxes of its phrases; arguments as in `read_instances`.

    Returns:
        The caption, None where there is none or all boxes of its phrases are left out; the boxes.
    """
    grounding = line.get("grounding")
    caption = grounding.get("caption") if isinstance(grounding, dict) else None
    if not isinstance(caption, str) or not caption.strip():
        note(problems, NO_CAPTION if "grounding" in line else None, where)
        return None, []
    regions = _entries(grounding, "regions")
    annotations = []
    for i, region in enumerate(regions):
        named = f"region {i} of {where}"
        spans, kind = _region_spans(region, caption)
        note(problems, kind, named)
        if spans is not None:
            category = _category(region, names)
            for box in _boxes(region, size, problems, named):
                annotations.append(
                    Annotation(box, category, spans, crowd=is_true(region.get("iscrowd", 0)))
                )
    if regions and not annotations:
        note(problems, NO_LINK_LEFT, where)
        return None, []
    return caption, annotations


def _entries(holder: Any, key: str) -> list[dict[str, Any]]:
    return objects(holder.get(key)) if isinstance(holder, dict) else []


def _same(name: str, other: str) -> bool:
    return checks.read_name(name).lower() == checks.read_name(other).lower()


def _category(entry: Mapping[str, Any], names: dict[int, str]) -> int | None:
    label = whole_number(entry.get("label"))
    if label is None:
        return None
    if label not in names and isinstance(entry.get("category"), str):
        names[label] = entry["category"]
    return label if label in names else None


def _boxes(
    entry: Mapping[str, Any], size: tuple[int, int], problems: Problems, named: str
) -> Iterator[Box]:
    """Walk over the usable boxes of an instance or region, which has one or a list of them."""
    given = entry.get("bbox") or ()
    several = isinstance(given, list) and isinstance(given[0], list)
    for corners in given if several else [given]:
        box, kind = checks.checked_box(corners, size)
        note(problems, kind, named)
        if box is not None:
            yield box


def _region_spans(
    region: Mapping[str, Any], caption: str
) -> tuple[tuple[Span, ...] | None, str | None]:
    """Read the spans of a region, or find its phrase; or tell what is wrong."""
    if region.get("tokens_positive") is not None:
        spans = checked_spans(region["tokens_positive"], caption)
        return spans, None if spans else SPAN_OUTSIDE
    found = find_phrase(str(region.get("phrase", "")), caption)
    if len(found) == 1:
        return (found[0],), None
    return None, AMBIGUOUS if found else NOT_IN_CAPTION
