"""Detection data: boxes with categories, whose names become the prompt."""

import logging
from pathlib import Path
from typing import ClassVar

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.category_names import read_categories
from glip_pl.data.datasets.category_samples import CategorySamples
from glip_pl.data.datasets.few_shot import few_shot
from glip_pl.data.datasets.samples import SampleContext, SampleMaker
from glip_pl.data.formats import AnnotationSet
from glip_pl.data.formats.coco.coco import Coco
from glip_pl.data.formats.columns.builder import columns_of
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.checks import REPEATED_CATEGORY, note
from glip_pl.data.sources import is_coco_json
from glip_pl.metrics import DetectionAP, GroundingMetric
from glip_pl.prompts import Prompt, PromptTemplate
from glip_pl.prompts.compiler import NAME_PLACE, describe

log = logging.getLogger(__name__)

_NO_CATEGORIES = (
    "the boxes of {!r} show phrases of captions and no categories; read it with "
    "glip_pl.data.PhraseGrounding"
)
_NO_NAMES = (
    "{!r} names no categories, so that there is nothing to look for; name them, or read captions "
    "without boxes by glip_pl.data.PhraseGrounding"
)
_UNNAMED = "image with a box that has no category"


class CategoryDetection(GroundingDataset):
    """Boxes with category names, from COCO's JSON or any other form with categories.

    In training the prompt names all categories that the image shows and sampled others, unless it
    is fixed; in evaluation it names all categories, in the order of their ids.

    Attributes:
        category_ids: The data set's id of each name; there may be gaps.
        json_format: Reads a lone JSON file.
    """

    json_format: ClassVar[Coco] = Coco()

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        *,
        format: str | None = None,
        split: str | None = None,
        template: PromptTemplate | None = None,
        max_negatives: int = 85,
        fixed_prompt: bool = False,
        renamed: dict[int, str] | None = None,
        descriptions: dict[int, str] | None = None,
        leave_out: list[int] | None = None,
        shots: int | None = None,
        shot_seed: int = 3,
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: COCO's JSON file, or a file or folder in another form ("voc", "yolo"),
                relative to the data module's root.
            images: Folder of the image files, relative to the root; by default ``images`` for a
                JSON file, and where the form has them for all else.
            format: Name of the form, where several fit.
            split: Which split of a folder that has several ("train").
            template: How names become a caption.
            max_negatives: Categories that a training prompt may name and the image does not show.
            fixed_prompt: Whether training, too, names all categories in the order of their ids, as
                GLIP is fine-tuned.
            renamed: The name of a category in prompts and results by its id, where the file's own
                says little ("RBC").
            descriptions: Words around the name of a category in prompts by its id, "a {name} on the
                porch"; they help the model, but the name alone is the phrase.
            leave_out: Ids of categories that no prompt names, such as the one that Roboflow puts
                before all others. No box may show them.
            shots: Keep only so many images of each category, as `few_shot` chooses them.
            shot_seed: Fixes which these are.
        """
        super().__init__(annotations, images, format=format, split=split)
        self.renamed, self.descriptions = renamed or {}, descriptions or {}
        self.leave_out = frozenset(leave_out or ())
        self.shots, self.shot_seed = shots, shot_seed
        self.template = template or PromptTemplate()
        self.max_negatives = max_negatives
        self.fixed_prompt = fixed_prompt
        self.category_ids: list[int] = []

    @property
    def names_by_id(self) -> dict[int, str]:
        """The name of each category id."""
        return dict(zip(self.category_ids, self.names, strict=True))

    @property
    def whole_prompt(self) -> Prompt:
        """The prompt that names all categories, in the order of their ids; known after `load`."""
        pieces = [describe(n, self.descriptions.get(i)) for i, n in self.names_by_id.items()]
        return self.template.join_prompts(pieces)

    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read the names of the categories, and the boxes of images whose files exist.

        Raises:
            ValueError: The boxes show no categories but phrases, or cannot be read.
        """
        if self.reads_json and is_coco_json(source):
            return self.read_json(source, folder)
        found = self.read_any(source, folder)
        if not found.names and found.records:
            linked = columns_of(found.records).count_linked().any()
            told = _NO_CATEGORIES if linked else _NO_NAMES
            raise ValueError(told.format(str(source)))
        return found

    def take_names(self, found: AnnotationSet, source: Path) -> None:
        """Take the names of the categories, but those that are to be left out."""
        entries = [{"id": i, "name": name} for i, name in found.names.items()]
        self.category_ids, self.names = read_categories(
            [entry for entry in entries if entry["id"] not in self.leave_out], self.renamed, source
        )
        unknown = self.leave_out - found.names.keys()
        if unknown:
            raise ValueError(
                f"`leave_out` has the category id {min(unknown)}, which {str(source)!r} does not "
                "use; give ids of its categories"
            )
        if roots := [i for i in found.roots if i not in self.leave_out]:
            told = ", ".join(f"{found.names[i]!r}" for i in roots)
            log.warning(
                "%s: prompts name %s, which others are a kind of and no box shows; leave_out: %s "
                "of the data set leaves it out",
                *(source, told, roots),
            )
        for category, text in self.descriptions.items():
            if category not in self.category_ids or text.count(NAME_PLACE) != 1:
                raise ValueError(
                    f"`descriptions` has {text!r} for the category id {category} of "
                    f'{str(source)!r}; give ids of its categories, and texts like "a {{name}} here"'
                )

    def read_json(self, source: Path, folder: Path) -> AnnotationSet:
        """Do as `read_set` with a file in COCO's form."""
        found = self.json_format.read_json(source, self.find_folder(source, folder))
        # MDETR's files have one category, a filler.
        if len(found.names) == 1 and found.unread.get("tokens_positive"):
            raise ValueError(_NO_CATEGORIES.format(str(source)))
        if repeated := found.problems.get(REPEATED_CATEGORY):
            raise ValueError(
                f"{str(source)!r} uses a category id twice ({repeated[0]}); renumber one"
            )
        return found

    def select(self, found: AnnotationSet, problems: Problems) -> ColumnRecords:
        """Choose the images whose boxes all show known categories; those without boxes are kept.

        An image of which a box is unknown would else be taken to show nothing there.
        """
        records = columns_of(found.records)
        known = records.shows_only(self.category_ids)
        for place in np.flatnonzero(~known).tolist():
            record = records[place]
            note(problems, _UNNAMED, f"image {record.image_id} ({record.file_name})")
        records = records.take(known)
        if self.shots is None:
            return records
        shown = [records.category_ids(place).tolist() for place in range(len(records))]
        return records.take(np.array(few_shot(shown, self.shots, self.shot_seed), np.int64))

    def maker(self, context: SampleContext) -> SampleMaker:
        """Make what asks images for the categories."""
        return CategorySamples(
            *(context, self.names_by_id),
            source=self.annotations,
            template=self.template,
            descriptions=self.descriptions,
            max_negatives=self.max_negatives,
            fixed_prompt=self.fixed_prompt,
        )

    def make_metric(self) -> GroundingMetric:
        """Make COCO's AP over the categories."""
        return DetectionAP(self.names_by_id)
