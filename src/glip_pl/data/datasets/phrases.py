"""Phrase grounding data: captions whose phrases are linked to boxes."""

from copy import deepcopy
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.caption_samples import CaptionSamples, linked_phrases
from glip_pl.data.datasets.samples import SampleContext, SampleMaker
from glip_pl.data.formats import AnnotationSet, Record
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.caption_spans import NO_CAPTION
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.mdetr.linked_captions import read_json
from glip_pl.data.sources import is_coco_json
from glip_pl.metrics import GroundingMetric, PhraseRecall

_NO_CAPTIONS = (
    "no image of {!r} has a caption; read it with glip_pl.data.CategoryDetection if its boxes have "
    "categories"
)
_NO_LINK = "caption without a linked phrase"


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

    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read captions and boxes of images whose files exist.

        Raises:
            ValueError: No image has a caption, or the annotations cannot be read.
        """
        if self.reads_json and is_coco_json(source):
            finder = self.find_folder(source, folder)
            found = read_json(source, finder, whole=self.whole_captions)
            without = not found.records and found.problems.keys() == {NO_CAPTION}
        else:
            found = self.read_any(source, folder)
            without = len(found.records) > 0 and not columns_of(found.records).has_captions.any()
        if without:
            raise ValueError(_NO_CAPTIONS.format(str(source)))
        return found

    def select(self, found: AnnotationSet, problems: Problems) -> ColumnRecords:
        """Choose the captions with linked phrases."""
        records = columns_of(found.records)
        unsure = f"score of at most {self.min_score}"
        captioned, linked = records.has_captions, records.count_linked()
        sure = records.count_linked(above=self.min_score)
        for place in np.flatnonzero(~captioned | (sure < linked) | (sure == 0)).tolist():
            named = _name_of(records[place])
            if not captioned[place]:
                note(problems, NO_CAPTION, named)
                continue
            for _ in range(linked[place] - sure[place]):
                note(problems, unsure, f"box of {named}")
            if not sure[place]:
                note(problems, _NO_LINK, named)
        return records.take(captioned & (sure > 0))

    def maker(self, context: SampleContext) -> SampleMaker:
        """Make what asks for the linked phrases of every caption."""
        return CaptionSamples(
            context,
            partial(linked_phrases, min_score=self.min_score),
            max_distractors=self.max_distractors,
        )

    def make_metric(self) -> GroundingMetric:
        """Make the metric that was chosen."""
        return deepcopy(self.metric)


def _name_of(record: Record) -> str:
    return f"image {record.image_id} ({PurePosixPath(record.file_name).name})"
