"""Samples of boxes with categories: which names a prompt asks an image for."""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.samples import SampleContext, SampleMaker
from glip_pl.data.formats import Record
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.prompts import Chunk, PromptTemplate
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.vocabulary import Vocabulary
from glip_pl.structures import Sample, Truth

log = logging.getLogger(__name__)


class CategorySamples(SampleMaker):
    """Asks for all categories, or in training for those that an image shows among others."""

    def __init__(
        self,
        context: SampleContext,
        names: Mapping[int, str],
        *,
        source: str,
        template: PromptTemplate,
        descriptions: Mapping[int, str],
        max_negatives: int,
        fixed_prompt: bool,
    ) -> None:
        """Count the tokens of the names; in evaluation cut them into chunks that can be read.

        What is odd about the names, such as letters that the vocabulary lacks, is told as a
        warning.

        Args:
            context: What the samples are made for.
            names: The categories by id, in the order of the ids.
            source: The set, for messages.
            template: How names become a caption.
            descriptions: Words around some names, by id.
            max_negatives: Categories that a training prompt may name and the image does not show.
            fixed_prompt: Whether training, too, names all.

        Raises:
            ValueError: A name, or those of a fixed prompt, take more tokens than there is room for.
        """
        super().__init__(context)
        self._ids, self._max_negatives = list(names), max_negatives
        self._position = {category_id: c for c, category_id in enumerate(names)}
        words = list(names.values())
        described = {c: descriptions[i] for i, c in self._position.items() if i in descriptions}
        compiled = compile_names(
            words, context.tokenizer, template=template, descriptions=described
        )
        if troubles := compiled.report.troubles():
            log.warning("%s", "\n  ".join([f"the names of {source}:", *troubles]))
        self._vocabulary = Vocabulary(
            words, context.tokenizer, template=template, descriptions=described
        )
        # A training prompt is read at once.
        self._chunks: tuple[Chunk, ...] = () if context.training else compiled.chunks
        names_all = fixed_prompt or context.one_prompt
        self._samples_names = context.training and not names_all
        needed, room = self._vocabulary.cost(range(len(words))), self._vocabulary.room
        if context.training and names_all and needed > room:
            raise ValueError(
                f"one prompt for all images names all {len(words)} categories of {source} in "
                f"{needed} tokens, but the text encoder has room for {room}; raise its max_tokens, "
                "or leave out what asks for it (fixed_prompt of data.train, or model.tune=prompt)"
            )

    def readable(self, records: ColumnRecords, problems: Problems) -> ColumnRecords:
        """Keep all records, each of which a training prompt must be able to name all of.

        Raises:
            ValueError: The names that one image shows take more tokens than there is room for.
        """
        room = self._vocabulary.room if self.context.training else math.inf
        dearest = max(self._vocabulary.cost([c]) for c in range(len(self._ids)))
        # Only where many boxes might show as many names is it worth a look at which.
        for place in np.flatnonzero(records.box_counts * dearest > room).tolist():
            record = records[place]
            needed = self._vocabulary.cost(set(self._classes(record)))
            if needed > self._vocabulary.room:
                raise ValueError(
                    f"the names that {record.file_name!r} shows need {needed} tokens, but the "
                    f"text encoder has room for {self._vocabulary.room}; raise its max_tokens or "
                    "shorten the names"
                )
        return records

    def make(self, record: Record, image: np.ndarray, others: Sequence[Record]) -> Sample:
        """Join boxes and pixels with a prompt."""
        classes = self._classes(record)
        named = list(range(len(self._ids)))
        if self._samples_names:
            named = self._vocabulary.sample(set(classes), self._max_negatives)
        return Sample(
            image=image,
            prompt=self._vocabulary.prompt(named),
            phrase_ids=torch.tensor([self._ids[c] for c in named]),
            original_size=record.size,
            truth=Truth(
                boxes=torch.tensor([a.box for a in record.annotations]).reshape(-1, 4),
                shows=torch.tensor(classes, dtype=torch.long)[:, None] == torch.tensor(named),
                crowd=torch.tensor([a.crowd for a in record.annotations], dtype=torch.bool),
                image_id=record.image_id,
            ),
            chunks=self._chunks,
        )

    def _classes(self, record: Record) -> list[int]:
        """Return the position in the names of what each box shows."""
        return [self._position[a.category] for a in record.annotations if a.category is not None]
