"""A picture of samples: each image with its boxes, the words under it."""

import textwrap
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from glip_pl.data.formats.common.records import Annotation, AnnotationSet, Record
from glip_pl.data.images import read_image
from glip_pl.inference.visualize import draw

_SIDE = 480  # Longest side of a sample, in pixels.
_GAP = 12
_LETTERS = 15
_LINE = 20
_MOST_LINES = 4


def picture_of(annotation_set: AnnotationSet, record: Record) -> np.ndarray:
    """Draw a sample: the image with its boxes, and below it the file's name and the caption.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: The image cannot be read.
    """
    pixels = read_image(annotation_set.images / record.file_name)
    image = Image.fromarray(pixels)
    scale = _SIDE / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    boxes = torch.tensor([annotation.box for annotation in record.annotations]).reshape(-1, 4)
    # Boxes count in the pixels of the record, which a faulty one may not share with the file.
    height, width = record.size
    boxes = boxes * torch.tensor([image.width / width, image.height / height]).repeat(2)
    labels = [_label(annotation_set, record, annotation) for annotation in record.annotations]
    # A category has one colour on all pictures; phrases have theirs in each.
    place: dict[int | None, int] = {i: c for c, i in enumerate(annotation_set.names)}
    has_phrases = any(annotation.tokens_positive for annotation in record.annotations)
    colors = None if has_phrases else [place.get(a.category, -1) for a in record.annotations]
    drawn = Image.fromarray(draw(np.asarray(image), boxes, labels, colors=colors))
    lines = textwrap.wrap(record.caption or "", width=_SIDE // 8)[:_MOST_LINES]
    lines = [f"{PurePosixPath(record.file_name).name}  ({len(boxes)})", *lines]
    picture = Image.new("RGB", (_SIDE, drawn.height + _LINE * len(lines) + _GAP), "white")
    picture.paste(drawn, (0, 0))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=_LETTERS)
    for number, line in enumerate(lines):
        pen.text((0, drawn.height + 4 + number * _LINE), line, fill=(40, 40, 40), font=font)
    return np.asarray(picture)


def sheet_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Lay pictures of one width, uint8 [H, W, 3] each, out in rows on a white sheet."""
    columns = max(1, round(len(pictures) ** 0.5 + 0.3))
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    size = (_GAP + columns * (_SIDE + _GAP), _GAP + sum(height + _GAP for height in heights))
    sheet = Image.new("RGB", size, "white")
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (_GAP + column * (_SIDE + _GAP), top))
        top += height + _GAP
    return np.asarray(sheet)


def _label(annotation_set: AnnotationSet, record: Record, annotation: Annotation) -> str:
    """Name a box by its phrase, else by its category."""
    caption = record.caption or ""
    phrase = " ".join(caption[start:end] for start, end in annotation.tokens_positive)
    known = "" if annotation.category is None else annotation_set.names[annotation.category]
    score = "" if annotation.score is None else f" {annotation.score:.2f}"
    return f"{phrase or known}{score}{' (crowd)' if annotation.crowd else ''}"
