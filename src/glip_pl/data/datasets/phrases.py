"""Phrase grounding data: captions whose phrases are linked to boxes."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from glip_pl.data.annotations import ImageRecord
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.formats import Annotation, AnnotationSet, Record
from glip_pl.data.formats.coco.coco_json import read_document
from glip_pl.data.formats.common.caption_spans import NO_CAPTION
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.values import objects
from glip_pl.data.formats.mdetr import read_captions
from glip_pl.data.sources import is_coco_json
from glip_pl.metrics import GroundingMetric, PhraseRecall
from glip_pl.prompts import Prompt, surround
from glip_pl.prompts.tokens import SPECIAL_TOKENS, Tokenizer
from glip_pl.structures import Sample, Truth

# Share of the training captions that stay alone, and of the others that get all distractors.
_ALONE, _ALL = 0.4, 0.5
_NO_CAPTIONS = (
    "no image of {!r} has a caption; read it with glip_pl.data.CategoryDetection if its boxes have "
    "categories"
)


@dataclass(frozen=True)
class PhraseRecord(ImageRecord):
    """An image with one caption, its boxes [G, 4], what each shows [G, K], and crowd flags [G].

    `phrase_types` are as in `Truth`.
    """

    prompt: Prompt
    boxes: Tensor
    shows: Tensor
    crowd: Tensor
    phrase_types: tuple[tuple[str, ...], ...] = ()


class PhraseGrounding(GroundingDataset):
    """Captions with phrases linked to boxes; every image record is one caption.

    They come from MDETR's JSON or any other form with captions. Annotations of the same spans are
    one phrase with several boxes; annotations of the same box are one box that shows several
    phrases.

    Attributes:
        whole_captions: Whether a box of JSON shows its caption as a whole, whatever its spans are.
    """

    whole_captions: ClassVar[bool] = False

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        *,
        format: str | None = None,
        split: str | None = None,
        max_distractors: int = 0,
        min_score: float = 0.0,
        metric: GroundingMetric | None = None,
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: MDETR's JSON file, or a file or folder in another form ("flickr30k",
                "odvg"), relative to the data module's root.
            images: Folder of the image files, relative to the root; by default ``images`` for a
                JSON file, and where the form has them for all else.
            format: Name of the form, where several fit.
            split: Which split of a folder that has several ("train").
            max_distractors: Captions of other images that a training caption may be packed with, as
                far as the text encoder's tokens go; GLIP packs web captions with up to 20.
            min_score: Annotations with a ``score`` that is not above it are left out, where a
                detector drew the boxes; GLIP takes 0.5.
            metric: How the set is judged; `PhraseRecall` at 1, 5 and 10 by default.
        """
        super().__init__(annotations, images, format=format, split=split)
        self.metric = metric or PhraseRecall()
        self.max_distractors, self.min_score = max_distractors, min_score
        self._source = Path(annotations)
        self._loaded: list[PhraseRecord] = []
        self._records: Sequence[PhraseRecord] = []

    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read captions and boxes of images whose files exist.

        Raises:
            ValueError: No image has a caption, or the annotations cannot be read.
        """
        self._source = source
        if self.reads_json and is_coco_json(source):
            document, _ = read_document(source, ("images", "annotations"))
            if not any(isinstance(e.get("caption"), str) for e in objects(document["images"])):
                raise ValueError(_NO_CAPTIONS.format(str(source)))
            finder = self.find_folder(source, folder)
            found = read_captions(document, finder, whole=self.whole_captions)
            self.problems.update(found.problems)
        else:
            found = self.read_any(source, folder)
        if found.records and all(record.caption is None for record in found.records):
            raise ValueError(_NO_CAPTIONS.format(str(source)))
        return found

    def load(self, root: Path) -> None:
        """See `GroundingDataset`; `connect` leaves out the captions that are too long."""
        super().load(root)
        self._loaded = list(self._records)

    def select(self, found: AnnotationSet) -> list[Any]:
        """Join captions and links; a caption without any linked phrase is left out."""
        unsure = f"score of at most {self.min_score}"
        records = []
        for record in found.records:
            if record.caption is None:
                note(self.problems, NO_CAPTION, _name_of(record))
                continue
            linked = [a for a in record.annotations if a.tokens_positive]
            links = [a for a in linked if a.score is None or a.score > self.min_score]
            for _ in range(len(linked) - len(links)):
                note(self.problems, unsure, f"box of {_name_of(record)}")
            if links:
                records.append(_record(record, found.images, links))
            else:
                note(self.problems, "caption without a linked phrase", _name_of(record))
        return records

    def connect(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer and leave out the captions that it cannot hold.

        Raises:
            ValueError: No caption is left.
        """
        super().connect(tokenizer)
        kind = self._too_long(tokenizer)
        told = self.problems.pop(kind, [])
        self._records = self.fitting(self._loaded)
        if self._loaded and not self._records:
            raise ValueError(
                f"every caption of {str(self._source)!r} is longer than {tokenizer.max_tokens} "
                "tokens; raise max_tokens of the text encoder"
            )
        if self.problems.get(kind, []) != told:
            self.tell(self._source, {kind: self.problems[kind]})

    def fitting(self, records: list[Any]) -> list[Any]:
        """Leave out the captions that the text encoder cannot hold."""
        assert self.tokenizer is not None
        counts = self.tokenizer.count([record.prompt.caption for record in records])
        kept = []
        for record, count in zip(records, counts, strict=True):
            if count + SPECIAL_TOKENS <= self.tokenizer.max_tokens:
                kept.append(record)
            else:
                named = f"image {record.image_id} with {count + SPECIAL_TOKENS}"
                note(self.problems, self._too_long(self.tokenizer), named)
        return kept

    def _too_long(self, tokenizer: Tokenizer) -> str:
        return f"caption longer than {tokenizer.max_tokens} tokens"

    def make_sample(self, record: PhraseRecord, image: np.ndarray) -> Sample:
        """Join caption, boxes and pixels."""
        packed = self.training and self.max_distractors > 0
        return Sample(
            image=image,
            prompt=self._packed(record.prompt) if packed else record.prompt,
            phrase_ids=torch.full((record.shows.shape[1],), -1),
            original_size=record.size,
            truth=Truth(
                boxes=record.boxes.clone(),
                shows=record.shows.clone(),
                crowd=record.crowd.clone(),
                image_id=record.image_id,
                phrase_types=record.phrase_types,
            ),
        )

    def make_metric(self) -> GroundingMetric:
        """Make the metric that was chosen."""
        return deepcopy(self.metric)

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


def _name_of(record: Record) -> str:
    return f"image {record.image_id} ({PurePosixPath(record.file_name).name})"


def _record(record: Record, folder: Path, links: Sequence[Annotation]) -> PhraseRecord:
    """Merge the links of a caption: each phrase once and each box once."""
    phrases = sorted({tuple(sorted(link.tokens_positive)) for link in links})
    boxes = list(dict.fromkeys(link.box for link in links))
    shows = torch.zeros(len(boxes), len(phrases), dtype=torch.bool)
    crowd = torch.zeros(len(boxes), dtype=torch.bool)
    types: list[dict[str, None]] = [{} for _ in phrases]  # In the order of the file, each once.
    for link in links:
        g, k = boxes.index(link.box), phrases.index(tuple(sorted(link.tokens_positive)))
        shows[g, k] = True
        crowd[g] |= link.crowd
        types[k] |= dict.fromkeys(link.phrase_types)
    return PhraseRecord(
        *(record.image_id, folder / record.file_name, record.size),
        prompt=Prompt(record.caption or "", tuple(phrases)),
        boxes=torch.tensor(boxes),
        shows=shows,
        crowd=crowd,
        phrase_types=tuple(tuple(kinds) for kinds in types) if any(types) else (),
    )
