"""What is wrong with annotations, under the same names in every format.

A *problem* is either a *fault*, for which a box, a record or an image is left out, or a *change*,
after which it is kept (`CHANGES`). Nothing is decided twice: the formats find both while they read,
and `image_files` finds what only the image files tell.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glip_pl.data.annotations import Box, Problems
from glip_pl.prompts.names import clean_name, visible

CLIPPED = "box clipped to its image"
REPEATED_ANNOTATION = "repeated annotation id"
SAME_NAME = "category names that read the same in a prompt"
BLANK_NAME = "category whose name says nothing"
NO_LABELS = "split without any label file, so that no image shows anything"
OTHER_COUNT = "number of classes (nc) that is not the number of names"
TRACK = "number of a track after a box, which is not kept"
ALL_CROWDS = "set whose boxes are all around crowds, so that nothing can be learned from it"
ALL_TINY = "set whose boxes are all smaller than a pixel, as if they were in parts of the image"
# Kept, and told of; every other kind of problem leaves something out.
CHANGES = frozenset(
    {CLIPPED, REPEATED_ANNOTATION, SAME_NAME, BLANK_NAME, NO_LABELS, OTHER_COUNT, TRACK}
    | {ALL_CROWDS, ALL_TINY}
)

NO_BOX = "box that is not four numbers"
INVERTED = "inverted box"
NO_AREA = "box without area"
OUTSIDE = "box outside its image"
NO_SCORE = "score that is not a number"
NO_RECORD = "image entry without a number as id, a file_name, a height and a width"
REPEATED_IMAGE = "repeated image id"
REPEATED_CATEGORY = "repeated category id"
MISSING_FILE = "missing image file"
UNSURE_FILE = "image file that several names lead to once their folders or capitals are dropped"
OUTSIDE_FOLDER = "image file outside the folder of images"
UNKNOWN_IMAGE = "annotation of an unknown image"
UNKNOWN_CATEGORY = "annotation of an unknown category"
NO_PARTS = "box in pixels or percent, where parts of the image are meant"
NO_OUTLINE = "outline that leaves the image far behind (key points? data.yaml needs kpt_shape then)"
NOT_A_SCORE = "number after a box that is no score between 0 and 1 (an angle, or a track's number?)"
NO_LABEL = "box without a label"
OTHER_NAME = "box whose category has another name than its label"
NO_NAME = "label without a name"
UNNAMED_PART = "part of a mask whose number or colour has no name"
# What leaves a box out and keeps its image.
OF_A_BOX = frozenset({NO_BOX, INVERTED, NO_AREA, OUTSIDE, NO_SCORE, NO_PARTS})
OF_A_BOX |= {UNKNOWN_IMAGE, UNKNOWN_CATEGORY, NO_OUTLINE, NOT_A_SCORE}
OF_A_BOX |= {NO_LABEL, NO_NAME, OTHER_NAME, UNNAMED_PART}

# COCO writes two decimals, so a box may end a little past its image without being wrong.
ROUNDING = 0.1


def note(problems: Problems, kind: str | None, what: str) -> None:
    """Add what has a problem of a kind; nothing where the kind is None."""
    if kind is not None:
        problems.setdefault(kind, []).append(what)


def checked_box(corners: Sequence[Any], size: tuple[int, int]) -> tuple[Box | None, str | None]:
    """Turn four values into a box inside its image, or tell what is wrong; both when clipped.

    Args:
        corners: x1, y1, x2, y2 in pixels, as numbers or text.
        size: (height, width) in pixels.

    Returns:
        The box, None where it must be left out, and the name of the problem, None where it is fine.
    """
    try:
        x1, y1, x2, y2 = (float(value) for value in corners)
    except (TypeError, ValueError, OverflowError):
        return None, NO_BOX
    if not math.isfinite(x1 + y1 + x2 + y2):
        return None, NO_BOX
    if x1 > x2 or y1 > y2:
        return None, INVERTED
    if x1 == x2 or y1 == y2:
        return None, NO_AREA
    return inside_image((x1, y1, x2, y2), size)


def inside_image(box: Box, size: tuple[int, int]) -> tuple[Box | None, str | None]:
    """Clip a box to its image, or tell that nothing is left of it; both when it loses something.

    Args:
        box: xyxy pixels with an area.
        size: (height, width) in pixels.

    Returns:
        The part of the box inside the image, and the problem's name.
    """
    x1, y1 = max(box[0], 0.0), max(box[1], 0.0)
    x2, y2 = min(box[2], float(size[1])), min(box[3], float(size[0]))
    if x1 >= x2 or y1 >= y2:
        return None, OUTSIDE
    cut = max(x1 - box[0], y1 - box[1], box[2] - x2, box[3] - y2)
    return (x1, y1, x2, y2), CLIPPED if cut > ROUNDING else None


def file_problem(folder: str, name: str) -> str | None:
    """Return what is wrong with an image file's name, which comes from a file of anyone."""
    if os.path.isabs(name) or ".." in name.split("/"):
        return OUTSIDE_FOLDER
    return None if os.path.isfile(os.path.join(folder, name)) else MISSING_FILE


def names_by_id(entries: Iterable[Any], problems: Problems) -> dict[int, str]:
    """Read COCO's list of categories, in the order of the ids; the first of two ids stays.

    Raises:
        ValueError: An entry lacks its id or its name.
    """
    names: dict[int, str] = {}
    for entry in entries:
        try:
            category_id, name = int(entry["id"]), category_name(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the category {entry!r} has a missing or wrong value ({error!r}); every category "
                "needs a number as id and a name"
            ) from error
        if category_id in names:
            note(problems, REPEATED_CATEGORY, f"{category_id} of {names[category_id]!r}, {name!r}")
        else:
            names[category_id] = name
    note_same_names(names, problems)
    return dict(sorted(names.items()))


def category_name(entry: Mapping[str, Any]) -> str:
    """Return the name of an entry of COCO's categories.

    Raises:
        KeyError: It has none.
        TypeError: It is no text: null is not the name "None".
    """
    name = entry["name"]
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise TypeError(f"{name!r} is no name")
    return str(name)


def read_name(name: str) -> str:
    """Return what a prompt says for a name: "(cat)", which is all note, stays as it is."""
    return clean_name(name) or visible(name.replace("_", " "))


def refuse_shifted(used: Mapping[int, int], names: Mapping[int, str], where: str) -> None:
    """Refuse boxes whose category ids are all one too high or too low: they have wrong names.

    Args:
        used: How many boxes have each id.
        names: The categories by id.
        where: The file, for the message.

    Raises:
        ValueError: An id past one end is used, the other end is not, and moved by one all fit.
    """
    if not names or len(used) < 2 or set(used) <= set(names):  # A lone id may be a slip.
        return
    low, high = min(names), max(names)
    for by, past, unused in ((1, high + 1, low), (-1, low - 1, high)):
        if past in used and unused not in used and all(i - by in names for i in used):
            raise ValueError(
                f"the category ids of {where!r} are off by one: its boxes use {min(used)} to "
                f"{max(used)}, and its names have {low} to {high}; number both alike"
            )


def note_same_names(names: Mapping[int, str], problems: Problems) -> None:
    """Find the names that a prompt could not tell apart ("hair_drier" and "hair drier"), or use."""
    brief = {category_id: read_name(name).lower() for category_id, name in names.items()}
    uses = Counter(brief.values())
    written: defaultdict[str, list[str]] = defaultdict(list)
    for category_id, name in names.items():
        # A prompt keeps the note of "bow_(weapon)" where another name reads "bow", too.
        whole = visible(name.replace("_", " ")).lower()
        read = whole if uses[brief[category_id]] > 1 else brief[category_id]
        written[read].append(repr(name))
        if not whole:
            note(problems, BLANK_NAME, f"{category_id}: {name!r}")
    for same in written.values():
        if len(same) > 1:
            note(problems, SAME_NAME, ", ".join(same))
