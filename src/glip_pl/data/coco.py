"""Detection data: COCO JSON whose category names become the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glip_pl.data.annotations import (
    ImageRecord,
    Problems,
    name_of,
    read_annotations,
    usable_boxes,
    usable_images,
)
from glip_pl.data.batch import Sample
from glip_pl.data.dataset import SPECIAL_TOKENS, GroundingDataset
from glip_pl.prompts import Prompt, PromptTemplate, clean_name, training_names
from glip_pl.tokens import Tokenizer


@dataclass(frozen=True)
class _DetectionRecord(ImageRecord):
    """An image with boxes [G, 4], the position in `names` of each, [G], and crowd flags, [G]."""

    boxes: Tensor
    classes: Tensor
    crowd: Tensor


class CocoDetection(GroundingDataset):
    """Boxes with category names.

    In training the prompt names all categories that the image shows and sampled others, unless it
    is fixed; in evaluation it names all categories, in the order of their ids.

    Attributes:
        category_ids: The data set's id of each name; there may be gaps.
    """

    def __init__(
        self,
        annotations: str,
        images: str = "images",
        *,
        template: PromptTemplate | None = None,
        max_negatives: int = 85,
        fixed_prompt: bool = False,
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: JSON file, relative to the data module's root.
            images: Folder of the image files, relative to the root.
            template: How names become a caption.
            max_negatives: Categories that a training prompt may name and the image does not show.
            fixed_prompt: Whether training, too, names all categories in the order of their ids, as
                GLIP is fine-tuned.
        """
        super().__init__(annotations, images)
        self.template = template or PromptTemplate()
        self.max_negatives = max_negatives
        self.fixed_prompt = fixed_prompt
        self.category_ids: list[int] = []
        self._costs: list[int] = []
        self._budget = 0
        self._records: Sequence[_DetectionRecord] = []

    @property
    def names_by_id(self) -> dict[int, str]:
        """The name of each category id."""
        return dict(zip(self.category_ids, self.names, strict=True))

    def read_records(self, source: Path, folder: Path) -> Sequence[ImageRecord]:
        """Read the categories, images and boxes; images without boxes are kept."""
        document = read_annotations(source, ("images", "annotations", "categories"))
        self.category_ids, self.names = _categories(document["categories"], source)
        return _records(document, folder, self.category_ids, self.problems)

    def connect(self, tokenizer: Tokenizer) -> None:
        """Take the tokenizer and, in training, check that every image's names fit into a prompt.

        Raises:
            ValueError: The names that one image shows, or those of a fixed prompt, take more tokens
                than the text encoder reads.
        """
        super().connect(tokenizer)
        frame = [self.template.prefix, self.template.separator, self.template.suffix]
        prefix, separator, suffix = tokenizer.count(frame)
        # n names need n - 1 separators: the budget is given the one that each name brings too many.
        self._costs = [tokens + separator for tokens in tokenizer.count(self.names)]
        self._budget = tokenizer.max_tokens - SPECIAL_TOKENS - prefix - suffix + separator
        total = sum(self._costs)
        if self.training and self.fixed_prompt and total > self._budget:
            raise ValueError(
                f"fixed_prompt names all {len(self.names)} categories in {total} tokens, but the "
                f"text encoder has room for {self._budget}; raise its max_tokens or leave "
                "fixed_prompt out of data.train"
            )
        for record in self._records if self.training else ():
            needed = sum(self._costs[c] for c in set(record.classes.tolist()))
            if needed > self._budget:
                raise ValueError(
                    f"the names that {str(record.path)!r} shows need {needed} tokens, but the "
                    f"text encoder has room for {self._budget}; raise its max_tokens or shorten "
                    "the names"
                )

    def make_sample(self, index: int, image: np.ndarray) -> Sample:
        """Join boxes and pixels with a prompt."""
        record = self._records[index]
        samples_names = self.training and not self.fixed_prompt
        named = self._sampled(record) if samples_names else list(range(len(self.names)))
        return Sample(
            image=image,
            boxes=record.boxes.clone(),
            prompt=self._prompt(named),
            shows=record.classes[:, None] == torch.tensor(named)[None],
            crowd=record.crowd.clone(),
            phrase_ids=torch.tensor([self.category_ids[c] for c in named]),
            image_id=record.image_id,
            original_size=record.size,
        )

    def _prompt(self, named: Sequence[int]) -> Prompt:
        return self.template.join([self.names[c] for c in named])

    def _sampled(self, record: _DetectionRecord) -> list[int]:
        """Sample the names of a training prompt, leaving out negatives that do not fit."""
        present = set(record.classes.tolist())
        named = training_names(present, len(self.names), self.max_negatives)
        room = self._budget - sum(self._costs[c] for c in present)
        kept = []
        for c in named:
            if c not in present:
                if self._costs[c] > room:
                    continue
                room -= self._costs[c]
            kept.append(c)
        return kept


def _categories(entries: Sequence[dict[str, Any]], source: Path) -> tuple[list[int], list[str]]:
    """Read ids and cleaned names, in the order of the ids."""
    try:
        pairs = sorted((int(entry["id"]), str(entry["name"])) for entry in entries)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"a category of {str(source)!r} has a missing or wrong value ({error!r}); every "
            "category needs a number as id and a name"
        ) from error
    if not pairs:
        raise ValueError(f"{str(source)!r} names no categories; a detector has nothing to look for")
    written: dict[str, str] = {}
    for category_id, name in pairs:
        cleaned = clean_name(name)
        if not cleaned:
            raise ValueError(
                f"category {category_id} of {str(source)!r} is named {name!r}; name it"
            )
        if cleaned in written:
            raise ValueError(
                f"the categories {written[cleaned]!r} and {name!r} of {str(source)!r} both read "
                f"{cleaned!r} in a prompt; rename one of them"
            )
        written[cleaned] = name
    ids = [category_id for category_id, _ in pairs]
    repeated = {i for i in ids if ids.count(i) > 1}
    if repeated:
        raise ValueError(
            f"{str(source)!r} uses the category id {min(repeated)} twice; renumber one"
        )
    return ids, list(written)


def _records(
    document: dict[str, Any], folder: Path, category_ids: Sequence[int], problems: Problems
) -> list[_DetectionRecord]:
    """Collect the boxes of every usable image."""
    position = {category_id: c for c, category_id in enumerate(category_ids)}
    images = usable_images(document, folder, problems)
    found: dict[int, list[tuple[tuple[float, ...], int, bool]]] = {i: [] for i in images}
    for record, entry, box in usable_boxes(document, images, problems):
        c = position.get(entry.get("category_id", -1))
        if c is None:
            problems.setdefault("annotation of an unknown category", []).append(name_of(entry))
        else:
            found[record.image_id].append((box, c, bool(entry.get("iscrowd", 0))))
    return [
        _DetectionRecord(
            *(record.image_id, record.path, record.size),
            boxes=torch.tensor([b for b, _, _ in found[i]]).reshape(-1, 4),
            classes=torch.tensor([c for _, c, _ in found[i]], dtype=torch.long),
            crowd=torch.tensor([crowd for _, _, crowd in found[i]], dtype=torch.bool),
        )
        for i, (record, _) in images.items()
    ]
