"""Samples of captions: which phrases a caption has, and which captions it is packed with."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.samples import SampleContext, SampleMaker
from glip_pl.data.formats import Annotation, Record
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.checks import note
from glip_pl.prompts import Prompt, surround
from glip_pl.prompts.tokens import SPECIAL_TOKENS
from glip_pl.structures import Sample, Truth

# Share of the training captions that stay alone, and of the others that get all distractors.
_ALONE, _ALL = 0.4, 0.5
_COUNTED = 10_000  # Captions at a time.


def links_above(min_score: float, record: Record) -> list[Annotation]:
    """List the boxes that show phrases of a caption and that a person or a sure detector drew."""
    linked = [a for a in record.annotations if a.tokens_positive]
    return [a for a in linked if a.score is None or a.score > min_score]


def linked_phrases(record: Record, *, min_score: float) -> tuple[Prompt, Truth]:
    """Merge the links of a caption: each phrase once and each box once."""
    links = links_above(min_score, record)
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
    truth = Truth(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        shows=shows,
        crowd=crowd,
        image_id=record.image_id,
        phrase_types=tuple(tuple(kinds) for kinds in types) if any(types) else (),
    )
    return Prompt(record.caption or "", tuple(phrases)), truth


def whole_sentence(record: Record) -> tuple[Prompt, Truth]:
    """Take a caption for one phrase, which all boxes show."""
    caption = record.caption or ""
    boxes = [annotation.box for annotation in record.annotations]
    truth = Truth(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        shows=torch.ones(len(boxes), 1, dtype=torch.bool),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
        image_id=record.image_id,
    )
    return Prompt(caption, (((0, len(caption)),),)), truth


class CaptionSamples(SampleMaker):
    """Asks every image for the phrases of its caption."""

    def __init__(
        self,
        context: SampleContext,
        read: Callable[[Record], tuple[Prompt, Truth]],
        *,
        max_distractors: int = 0,
    ) -> None:
        """Note how captions are read.

        Args:
            context: What the samples are made for.
            read: Finds phrases, and what each box shows of them.
            max_distractors: Captions of other images that a training caption may be packed with.
        """
        super().__init__(context)
        self._read = read
        self._max_distractors = max_distractors if context.training else 0

    def readable(self, records: ColumnRecords, problems: Problems) -> ColumnRecords:
        """Leave out the captions that the text encoder cannot hold."""
        tokenizer, kept = self.context.tokenizer, np.ones(len(records), bool)
        # No token has less than a byte, so that short captions need not be counted.
        long = np.flatnonzero(records.caption_bytes + SPECIAL_TOKENS > tokenizer.max_tokens)
        for start in range(0, len(long), _COUNTED):
            some = records.take(long[start : start + _COUNTED])
            counts = tokenizer.count(list(some.captions()))
            for place, count in enumerate(counts, start=start):
                if count + SPECIAL_TOKENS > tokenizer.max_tokens:
                    image_id = int(some.image_ids[place - start])
                    named = f"image {image_id} with {count + SPECIAL_TOKENS}"
                    note(problems, f"caption longer than {tokenizer.max_tokens} tokens", named)
                    kept[long[place]] = False
        return records.take(kept)

    def make(self, record: Record, image: np.ndarray, others: Sequence[Record]) -> Sample:
        """Join caption, boxes and pixels."""
        prompt, truth = self._read(record)
        return Sample(
            image=image,
            prompt=self._packed(prompt, others) if self._max_distractors else prompt,
            phrase_ids=torch.full((truth.shows.shape[1],), -1),
            original_size=record.size,
            truth=truth,
        )

    def _packed(self, prompt: Prompt, others: Sequence[Record]) -> Prompt:
        """Put captions of other images around a caption, as many as the tokens allow."""
        tokenizer, most = self.context.tokenizer, self._max_distractors
        if float(torch.rand(())) < _ALONE:
            return prompt
        if float(torch.rand(())) >= _ALL:
            most = int(torch.randint(most, ()))
        drawn = torch.randint(len(others), (most,)).tolist()
        captions = [prompt.caption, *(others[index].caption or "" for index in drawn)]
        # One more for the full stop that ends each caption.
        own, *counts = (count + 1 for count in tokenizer.count(captions))
        left = tokenizer.max_tokens - SPECIAL_TOKENS - own
        fitting = []
        for caption, count in zip(captions[1:], counts, strict=True):
            if count <= left:
                fitting.append(caption)
                left -= count
        place = int(torch.randint(len(fitting) + 1, ()))
        return surround(prompt, fitting[:place], fitting[place:])
