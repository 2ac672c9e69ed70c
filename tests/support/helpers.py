"""Small stand-ins that several test files share."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from glip_pl.metrics import GroundingMetric
from glip_pl.prompts import Prompt, PromptTemplate
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.structures import Batch, Detections, Question, Sample, Truth

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "src/glip_pl/configs"
# Photographs and values of official GLIP that no clone has; tests that need them skip without it.
MATERIAL = Path(os.environ.get("GLIP_PL_TEST_MATERIAL", "GLIP_PL_TEST_MATERIAL-is-not-set"))
REFERENCE = MATERIAL / "reference"


class FakeTokenizer:
    """One token per word or punctuation mark, framed by [CLS] = 1 and [SEP] = 2; padding is 0."""

    def __init__(self, max_tokens: int = 64) -> None:
        self.max_tokens = max_tokens

    def __call__(self, prompts: Sequence[Prompt]) -> TokenBatch:
        rows = [[m.span() for m in _words(prompt.caption)] for prompt in prompts]
        longest = max(len(row) for row in rows) + 2
        if longest > self.max_tokens:
            raise ValueError(f"a caption has {longest} tokens, more than {self.max_tokens}")
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        offsets = torch.zeros(len(rows), longest, 2, dtype=torch.long)
        for b, row in enumerate(rows):
            words = [prompts[b].caption[start:end] for start, end in row]
            codes = [3 + sum(word.encode()) % 100 for word in words]
            ids[b, : len(row) + 2] = torch.tensor([1, *codes, 2])
            if row:
                offsets[b, 1 : len(row) + 1] = torch.tensor(row)
        return TokenBatch(ids, ids > 0, offsets)

    def count(self, names: Sequence[str]) -> list[int]:
        return [len(_words(name)) for name in names]

    def unspellable(self, names: Sequence[str]) -> list[bool]:
        return [False] * len(names)


def _words(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"\w+|[^\w\s]", text))


def write_image(path: Path, height: int, width: int, seed: int = 0) -> None:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_coco(
    root: Path,
    boxes: Mapping[str, Sequence[tuple[int, Sequence[float]]]],
    *,
    names: Mapping[int, str],
    size: tuple[int, int] = (40, 60),
    file: str = "train.json",
    **replaced: Any,
) -> Path:
    """Write a COCO detection set: per image file its (category id, xywh box) pairs.

    Image and annotation ids count from 1. Keywords replace top-level entries of the JSON.
    """
    images, annotations = [], []
    for image_id, (file_name, found) in enumerate(boxes.items(), start=1):
        write_image(root / "images" / file_name, *size, seed=image_id)
        images.append({"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]})
        for category_id, bbox in found:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": list(bbox),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in names.items()]
    document = {"images": images, "annotations": annotations, "categories": categories, **replaced}
    path = root / "annotations" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def make_sample(
    boxes: Sequence[Sequence[float]],
    names: Sequence[str] = ("cat",),
    *,
    size: tuple[int, int] = (40, 60),
) -> Sample:
    """Make a sample of noise whose box g shows name g, as far as there are names."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shows = torch.eye(max(len(boxes), len(names)), dtype=torch.bool)[: len(boxes), : len(names)]
    return Sample(
        image=pixels,
        prompt=PromptTemplate().join(names),
        phrase_ids=torch.arange(len(names)),
        original_size=size,
        truth=Truth(
            boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            shows=shows,
            crowd=torch.zeros(len(boxes), dtype=torch.bool),
            image_id=1,
        ),
    )


class Target(NamedTuple):
    """What one image of an evaluation is asked, and what is there."""

    question: Question
    truth: Truth

    def but(self, **changed: Any) -> "Target":
        """The same with another truth."""
        return Target(self.question, replace(self.truth, **changed))


def make_target(
    boxes: Sequence[Sequence[float]],
    phrases: Sequence[int],
    prompt: Prompt,
    phrase_ids: Sequence[int],
    *,
    image_id: int = 1,
    size: tuple[int, int] = (100, 100),
    original: tuple[int, int] | None = None,
) -> Target:
    """Make the target of one image, whose box g shows phrase `phrases[g]`."""
    count = len(phrase_ids)
    shows = torch.zeros(len(boxes), count, dtype=torch.bool)
    shows[torch.arange(len(boxes)), torch.tensor(phrases, dtype=torch.long)] = True
    return Target(
        Question(
            prompt=prompt,
            positive_map=torch.zeros(count, 1, dtype=torch.bool),
            weights=torch.zeros(count, 1),
            phrase_ids=torch.tensor(phrase_ids),
            size=size,
            original_size=original or size,
        ),
        Truth(
            boxes=torch.tensor(boxes, dtype=torch.float).reshape(-1, 4),
            shows=shows,
            crowd=torch.zeros(len(boxes), dtype=torch.bool),
            image_id=image_id,
        ),
    )


def targets_of(batch: Batch) -> list[Target]:
    """The targets of a batch, image by image."""
    return [Target(*pair) for pair in zip(batch.questions, batch.known(), strict=True)]


def update(metric: GroundingMetric, found: Detections, target: Target) -> None:
    """Add one image to a metric."""
    metric.update([found], [target.question], [target.truth])
