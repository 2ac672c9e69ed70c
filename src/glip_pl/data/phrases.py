"""Phrase grounding data: captions whose phrases are linked to boxes, in the JSON form of MDETR."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glip_pl.data.annotations import (
    Box,
    ImageRecord,
    log_problems,
    name_of,
    read_annotations,
    usable_boxes,
    usable_images,
)
from glip_pl.data.batch import Sample
from glip_pl.data.dataset import SPECIAL_TOKENS, GroundingDataset
from glip_pl.prompts import Prompt, Span
from glip_pl.tokens import Tokenizer

_Link = tuple[tuple[Span, ...], Box, bool]


@dataclass(frozen=True)
class _PhraseRecord(ImageRecord):
    """An image with one caption, its boxes [G, 4], what each shows [G, K], and crowd flags [G]."""

    prompt: Prompt
    boxes: Tensor
    shows: Tensor
    crowd: Tensor


class PhraseGrounding(GroundingDataset):
    """Captions with phrases linked to boxes; every image record is one caption.

    Annotations of the same spans are one phrase with several boxes; annotations of the same box are
    one box that shows several phrases.
    """

    def __init__(self, annotations: str, images: str = "images") -> None:
        """Note where the data lie.

        Args:
            annotations: JSON file, relative to the data module's root.
            images: Folder of the image files, relative to the root.
        """
        super().__init__(annotations, images)
        self._source = Path(annotations)
        self._loaded: Sequence[_PhraseRecord] = []
        self._records: Sequence[_PhraseRecord] = []

    def read_records(self, source: Path, folder: Path) -> Sequence[ImageRecord]:
        """Read captions and links; a caption without any linked phrase is left out."""
        self._source = source
        document = read_annotations(source, ("images", "annotations"))
        images = usable_images(document, folder, self.problems)
        captions = {i: str(entry.get("caption", "")) for i, (_, entry) in images.items()}
        links: dict[int, list[_Link]] = {i: [] for i in images}
        for record, entry, box in usable_boxes(document, images, self.problems):
            spans = _spans(entry, captions[record.image_id])
            if spans is None:
                self.problems.setdefault("span outside the caption", []).append(name_of(entry))
            else:
                links[record.image_id].append((spans, box, bool(entry.get("iscrowd", 0))))
        self._loaded = [
            _record(record, captions[i], links[i]) for i, (record, _) in images.items() if links[i]
        ]
        bare = [
            f"image {i} ({record.path.name})" for i, (record, _) in images.items() if not links[i]
        ]
        if bare:
            self.problems["caption without a linked phrase"] = bare
        return self._loaded

    def connect(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer and leave out the captions that it cannot hold.

        Raises:
            ValueError: No caption is left.
        """
        super().connect(tokenizer)
        counts = tokenizer.count([record.prompt.caption for record in self._loaded])
        fits = [count + SPECIAL_TOKENS <= tokenizer.max_tokens for count in counts]
        self._records = [record for record, fit in zip(self._loaded, fits, strict=True) if fit]
        kind = f"caption longer than {tokenizer.max_tokens} tokens"
        named = [
            f"image {record.image_id} with {count + SPECIAL_TOKENS}"
            for record, count, fit in zip(self._loaded, counts, fits, strict=True)
            if not fit
        ]
        if not self._records:
            raise ValueError(
                f"every caption of {str(self._source)!r} is longer than {tokenizer.max_tokens} "
                "tokens; raise max_tokens of the text encoder"
            )
        if named and self.problems.get(kind) != named:
            self.problems[kind] = named
            log_problems(self._source, {kind: named})

    def make_sample(self, index: int, image: np.ndarray) -> Sample:
        """Join caption, boxes and pixels."""
        record = self._records[index]
        return Sample(
            image=image,
            boxes=record.boxes.clone(),
            prompt=record.prompt,
            shows=record.shows.clone(),
            crowd=record.crowd.clone(),
            phrase_ids=torch.full((record.shows.shape[1],), -1),
            image_id=record.image_id,
            original_size=record.size,
        )


def _spans(entry: Mapping[str, Any], caption: str) -> tuple[Span, ...] | None:
    """Read the spans of an annotation; None when one lies outside the caption or covers no word."""
    try:
        spans = tuple(sorted({(int(a), int(b)) for a, b in entry["tokens_positive"]}))
    except (KeyError, TypeError, ValueError):
        return None
    inside = all(0 <= a < b <= len(caption) and caption[a:b].strip() for a, b in spans)
    return spans if spans and inside else None


def _record(image: ImageRecord, caption: str, links: Sequence[_Link]) -> _PhraseRecord:
    """Merge the links of a caption: each phrase once and each box once."""
    phrases = sorted({spans for spans, _, _ in links})
    boxes = list(dict.fromkeys(box for _, box, _ in links))
    shows = torch.zeros(len(boxes), len(phrases), dtype=torch.bool)
    crowd = torch.zeros(len(boxes), dtype=torch.bool)
    for spans, box, is_crowd in links:
        g = boxes.index(box)
        shows[g, phrases.index(spans)] = True
        crowd[g] |= is_crowd
    return _PhraseRecord(
        *(image.image_id, image.path, image.size),
        prompt=Prompt(caption, tuple(phrases)),
        boxes=torch.tensor(boxes),
        shows=shows,
        crowd=crowd,
    )
