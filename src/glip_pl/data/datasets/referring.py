"""Referring expressions: captions that each are one phrase as a whole."""

from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.caption_samples import CaptionSamples, whole_sentence
from glip_pl.data.datasets.phrases import PhraseGrounding
from glip_pl.data.datasets.samples import SampleContext, SampleMaker
from glip_pl.data.formats import AnnotationSet
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.caption_spans import NO_CAPTION
from glip_pl.data.formats.common.checks import note
from glip_pl.metrics import GroundingMetric, ReferringAccuracy

LOST_BOX = "caption of an unusable box"


class ReferringExpressions(PhraseGrounding):
    """Sentences with the boxes that they speak of: RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO.

    JSON is that of MDETR, and other forms with captions are read, too: every image record is one
    sentence, its ``caption``. The whole sentence is the phrase, whatever spans the annotations
    have. A sentence without annotations, or with one that says ``empty``, as in gRefCOCO, speaks of
    nothing in the image; sets with such sentences are judged by `GeneralizedReferring`.
    """

    whole_captions: ClassVar[bool] = True

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        *,
        format: str | None = None,
        split: str | None = None,
        metric: GroundingMetric | None = None,
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: MDETR's JSON file, or a file or folder in another form ("refcoco"),
                relative to the data module's root.
            images: Folder of the image files, relative to the root; by default ``images`` for a
                JSON file, and where the form has them for all else.
            format: Name of the form, where several fit.
            split: Which split of a folder that has several ("testA").
            metric: How the set is judged; `ReferringAccuracy` by default.
        """
        super().__init__(
            annotations, images, format=format, split=split, metric=metric or ReferringAccuracy()
        )

    def select(self, found: AnnotationSet, problems: Problems) -> ColumnRecords:
        """Choose the sentences; one that is blank or has lost a box is left out."""
        records = columns_of(found.records)
        kept = np.ones(len(records), bool)
        for place, (lost, caption) in enumerate(
            zip(records.left_out.tolist(), records.captions(), strict=True)
        ):
            if lost:  # The sentence would speak of too few.
                note(problems, LOST_BOX, f"image {records[place].image_id}")
            elif not caption.strip():
                note(problems, NO_CAPTION, PurePosixPath(records.file_name(place)).name)
            kept[place] = not lost and bool(caption.strip())
        return records.take(kept)

    def maker(self, context: SampleContext) -> SampleMaker:
        """Make what asks for every sentence as one phrase."""
        return CaptionSamples(context, whole_sentence)
