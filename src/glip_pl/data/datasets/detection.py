"""Detection data: boxes with categories, whose names become the prompt."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from glip_pl.data.annotations import ImageRecord, Problems
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.datasets.category_names import read_categories
from glip_pl.data.datasets.few_shot import few_shot
from glip_pl.data.formats import AnnotationSet
from glip_pl.data.formats.coco.coco import Coco
from glip_pl.data.formats.coco.coco_json import read_document
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.values import objects, whole_number
from glip_pl.data.sources import is_coco_json
from glip_pl.metrics import DetectionAP, GroundingMetric
from glip_pl.prompts import Chunk, Prompt, PromptTemplate
from glip_pl.prompts.compiler import NAME_PLACE, compile_names, describe
from glip_pl.prompts.tokens import Tokenizer
from glip_pl.prompts.vocabulary import Vocabulary
from glip_pl.structures import Sample, Truth

log = logging.getLogger(__name__)

_NO_CATEGORIES = (
    "the boxes of {!r} show phrases of captions and no categories; read it with "
    "glip_pl.data.PhraseGrounding"
)
_UNNAMED = "image with a box that has no category"


@dataclass(frozen=True)
class _DetectionRecord(ImageRecord):
    """An image with boxes [G, 4], the position in `names` of each, [G], and crowd flags, [G]."""

    boxes: Tensor
    classes: Tensor
    crowd: Tensor


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
        self._vocabulary: Vocabulary
        self._chunks: tuple[Chunk, ...] = ()
        self._records: Sequence[_DetectionRecord] = []

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
            raise ValueError(_NO_CATEGORIES.format(str(source)))
        self.take_names(found, source)
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
        document, _ = read_document(source)
        categories, annotations = objects(document["categories"]), objects(document["annotations"])
        read_categories(
            [c for c in categories if whole_number(c.get("id")) not in self.leave_out],
            *(self.renamed, source),
        )
        # MDETR's files have one category, a filler.
        if len(categories) == 1 and any("tokens_positive" in entry for entry in annotations):
            raise ValueError(_NO_CATEGORIES.format(str(source)))
        self.take_document(document, source)
        reader = self.json_format
        found = reader.read_document(document, source, self.find_folder(source, folder))
        self.problems.update(found.problems)
        self.take_names(found, source)
        return found

    def take_document(self, document: dict[str, Any], source: Path) -> None:
        """Take what a kind of data set needs of its JSON beside names, images and boxes."""

    def select(self, found: AnnotationSet) -> list[Any]:
        """Turn images and boxes into tensors; images without boxes are kept."""
        records = _records(found, self.category_ids, self.problems)
        if self.shots is None:
            return records
        shown = [record.classes.tolist() for record in records]
        return [records[i] for i in few_shot(shown, self.shots, self.shot_seed)]

    def make_metric(self) -> GroundingMetric:
        """Make COCO's AP over the categories."""
        return DetectionAP(self.names_by_id)

    def connect(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer; in evaluation cut the vocabulary into chunks that it can read.

        In training every image's names must fit into one prompt. What is odd about the names, such
        as letters that the vocabulary lacks, is told as a warning.

        Raises:
            ValueError: A name, or all that one image shows, or those of a fixed prompt, take more
                tokens than the text encoder reads.
        """
        super().connect(tokenizer)
        described = {
            c: self.descriptions[i]
            for c, i in enumerate(self.category_ids)
            if i in self.descriptions
        }
        compiled = compile_names(
            self.names, tokenizer, template=self.template, descriptions=described
        )
        if troubles := compiled.report.troubles():
            log.warning("%s", "\n  ".join([f"the names of {self.annotations}:", *troubles]))
        self._vocabulary = Vocabulary(
            self.names, tokenizer, template=self.template, descriptions=described
        )
        if not self.training:
            self._chunks = compiled.chunks
            return
        needed = self._vocabulary.cost(range(len(self.names)))
        if self.fixed_prompt and needed > self._vocabulary.room:
            raise ValueError(
                f"fixed_prompt names all {len(self.names)} categories in {needed} tokens, but the "
                f"text encoder has room for {self._vocabulary.room}; raise its max_tokens or leave "
                "fixed_prompt out of data.train"
            )
        self.fitting(list(self._records))

    def fitting(self, records: list[Any]) -> list[Any]:
        """Give the records, each of which a training prompt must be able to name all of.

        Raises:
            ValueError: The names that one image shows take more tokens than there is room for.
        """
        for record in records:
            needed = self._vocabulary.cost(set(record.classes.tolist()))
            if needed > self._vocabulary.room:
                raise ValueError(
                    f"the names that {str(record.path)!r} shows need {needed} tokens, but the "
                    f"text encoder has room for {self._vocabulary.room}; raise its max_tokens or "
                    "shorten the names"
                )
        return records

    def make_sample(self, record: _DetectionRecord, image: np.ndarray) -> Sample:
        """Join boxes and pixels with a prompt."""
        samples_names = self.training and not self.fixed_prompt
        named = list(range(len(self.names)))
        if samples_names:
            named = self._vocabulary.sample(set(record.classes.tolist()), self.max_negatives)
        return Sample(
            image=image,
            prompt=self._vocabulary.prompt(named),
            phrase_ids=torch.tensor([self.category_ids[c] for c in named]),
            original_size=record.size,
            truth=Truth(
                boxes=record.boxes.clone(),
                shows=record.classes[:, None] == torch.tensor(named)[None],
                crowd=record.crowd.clone(),
                image_id=record.image_id,
            ),
            chunks=self._chunks,
        )


def _records(
    found: AnnotationSet, category_ids: Sequence[int], problems: Problems
) -> list[_DetectionRecord]:
    """Turn boxes into tensors; an image is left out when what one of its boxes shows is unknown.

    The image would else be taken to show nothing there.
    """
    position = {category_id: c for c, category_id in enumerate(category_ids)}
    records = []
    for record in found.records:
        classes = [position.get(a.category) for a in record.annotations if a.category is not None]
        if len(classes) < len(record.annotations) or None in classes:
            note(problems, _UNNAMED, f"image {record.image_id} ({record.file_name})")
            continue
        records.append(
            _DetectionRecord(
                *(record.image_id, found.images / record.file_name, record.size),
                boxes=torch.tensor([a.box for a in record.annotations]).reshape(-1, 4),
                classes=torch.tensor(classes, dtype=torch.long),
                crowd=torch.tensor([a.crowd for a in record.annotations], dtype=torch.bool),
            )
        )
    return records
