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
from glip_pl.prompts import Prompt, Span, surround
from glip_pl.tokens import Tokenizer

# Share of the training captions that stay alone, and of the others that get all distractors.
_ALONE, _ALL = 0.4, 0.5

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

    def __init__(
        self,
        annotations: str,
        images: str = "images",
        *,
        max_distractors: int = 0,
        min_score: float = 0.0,
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: JSON file, relative to the data module's root.
            images: Folder of the image files, relative to the root.
            max_distractors: Captions of other images that a training caption may be packed with, as
                far as the text encoder's tokens go; GLIP packs web captions with up to 20.
            min_score: Annotations with a ``score`` that is not above it are left out, where a
                detector drew the boxes; GLIP takes 0.5.
        """
        super().__init__(annotations, images)
        self.max_distractors, self.min_score = max_distractors, min_score
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
            if float(entry.get("score", 1.0)) <= self.min_score:
                kind = f"score of at most {self.min_score}"
                self.problems.setdefault(kind, []).append(name_of(entry))
                continue
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
        packed = self.training and self.max_distractors > 0
        return Sample(
            image=image,
            boxes=record.boxes.clone(),
            prompt=self._packed(record.prompt) if packed else record.prompt,
            shows=record.shows.clone(),
            crowd=record.crowd.clone(),
            phrase_ids=torch.full((record.shows.shape[1],), -1),
            image_id=record.image_id,
            original_size=record.size,
        )

    def _packed(self, prompt: Prompt) -> Prompt:
        """Put captions of other images around a caption, as many as the tokens allow."""
        assert self.tokenizer is not None
        if float(torch.rand(())) < _ALONE:
            return prompt
        most = self.max_distractors
        if float(torch.rand(())) >= _ALL:
            most = int(torch.randint(most, ()))
        drawn = torch.randint(len(self._records), (most,)).tolist()
        captions = [prompt.caption, *(self._records[index].prompt.caption for index in drawn)]
        # One more for the full stop that ends each caption.
        own, *counts = (count + 1 for count in self.tokenizer.count(captions))
        left = self.tokenizer.max_tokens - SPECIAL_TOKENS - own
        others = []
        for caption, count in zip(captions[1:], counts, strict=True):
            if count <= left:
                others.append(caption)
                left -= count
        place = int(torch.randint(len(others) + 1, ()))
        return surround(prompt, others[:place], others[place:])


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
