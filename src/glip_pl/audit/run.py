"""``glip audit``: the names of a set written in many ways, and what that does to its AP."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glip_pl.audit.variants import Variant, variants_of
from glip_pl.boxes import box_iou
from glip_pl.data import CategoryDetection
from glip_pl.data.collate import collate
from glip_pl.data.descriptors import read_descriptor
from glip_pl.inference.detector import Detector
from glip_pl.inference.ensemble import join_prompts
from glip_pl.inference.postprocess import PostProcess
from glip_pl.inference.scoring import Split, open_sets
from glip_pl.metrics.coco_ap import original_boxes
from glip_pl.model import GLIP
from glip_pl.prompts import PromptTemplate
from glip_pl.prompts.compiler import compile_names
from glip_pl.structures import Detections, Question, Sample, Truth
from glip_pl.weights import read_weights

ENSEMBLE = "ensemble of all"
# Names that most sets do not have, far apart from each other.
DISTRACTORS = ("zebra", "violin", "traffic cone", "teapot", "submarine")


def audit_weights(
    weights: str,
    data: str,
    *,
    split: Split,
    root: str | None,
    orders: int,
    distractors: Sequence[str],
    images: int | None,
    output: Path,
) -> dict[str, Any]:
    """Score a model on a set under every way to write its names; images are encoded once.

    Args:
        weights: Of any kind.
        data: A description of data; its first set is taken.
        split: Which sets of it.
        root: Folder of the data, where it is another one.
        orders: Random orders to try.
        distractors: Names to stand among the others.
        images: Look at so many images only; None for all.
        output: The JSON file to write.

    Returns:
        What the file holds: AP per variant and class, their spread, and the share of the true boxes
        whose best name is another one than in the prompt as given.
    """
    model = read_weights(weights).build()
    described = read_descriptor(data, root=root)
    name, dataset = next(iter(open_sets(described, model, split).items()))
    if not isinstance(dataset, CategoryDetection):
        raise ValueError(f"{dataset.annotations!r} has captions; audit a set with categories")
    variants = variants_of(dataset.names, orders=orders, distractors=distractors)
    auditor = Auditor(model, dataset, variants)
    samples = described.eval_samples(dataset)
    count = len(samples) if images is None else min(images, len(samples))
    for index in range(count):
        auditor.add(samples[index])
    record = {"set": name, "split": split, "images": count, **auditor.report()}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n")
    return record


class Auditor:
    """Judge one image after the other under all variants.

    Args:
        model: In evaluation mode.
        dataset: For the names and the metric; loaded.
        variants: The first is what the others are compared with.
    """

    def __init__(
        self, model: GLIP, dataset: CategoryDetection, variants: Sequence[Variant]
    ) -> None:
        self.model, self.variants = model, variants
        self.postprocess = PostProcess()
        self.detector = Detector(model, self.postprocess)
        self._names = dataset.names
        self._prompts = [compile_names(v.words, model.text.tokenizer) for v in variants]
        self.metrics = {v: dataset.make_metric() for v in [*(v.name for v in variants), ENSEMBLE]}
        self._flips = {v: [0] * len(self._names) for v in self.metrics}
        self._boxes = [0] * len(self._names)

    @torch.inference_mode()
    def add(self, sample: Sample) -> None:
        """Detect in one image by every variant, and in all together."""
        device = next(self.model.parameters()).device
        batch = collate([sample], self.model.text.tokenizer).to(device)
        (question,), (truth,) = batch.questions, batch.known()
        image = self.model.encode_image(batch.images, batch.mask)
        found = []
        for variant, prompt in zip(self.variants, self._prompts, strict=True):
            asked = replace(
                sample,
                prompt=PromptTemplate().join(prompt.names),
                phrase_ids=torch.tensor(variant.answers),
                chunks=prompt.chunks,
            )
            # The truth has the set's own phrases, which a variant need not have.
            other = collate([replace(asked, truth=None)], self.model.text.tokenizer).to(device)
            (raw,) = self.detector(other, image)
            found.append(_answered(raw, variant))
        together = join_prompts(found, self.postprocess)
        best = [_best_names(f, question, truth) for f in [*found, together]]
        for name, detections, names in zip(self.metrics, [*found, together], best, strict=True):
            self.metrics[name].update(
                [detections.to("cpu")], [question.to("cpu")], [truth.to("cpu")]
            )
            for first, other_name, shown in zip(best[0], names, _classes(truth), strict=True):
                self._flips[name][shown] += first != other_name
        for shown in _classes(truth):
            self._boxes[shown] += 1

    def report(self) -> dict[str, Any]:
        """Compute AP per variant, its spread, and the flips per class."""
        scores = {
            name: {k: float(v) for k, v in metric.compute().items()}
            for name, metric in self.metrics.items()
        }
        written = [v.name for v in self.variants]
        classes = {
            name: {
                "ap": {v: scores[v].get(f"class/{name}", -1.0) for v in scores},
                "spread": _spread([scores[v].get(f"class/{name}", -1.0) for v in written]),
                "flips": {
                    v: self._flips[v][c] / self._boxes[c] if self._boxes[c] else 0.0 for v in scores
                },
            }
            for c, name in enumerate(self._names)
        }
        total = max(sum(self._boxes), 1)
        return {
            "ap": {v: of["map"] for v, of in scores.items()},
            "spread": _spread([scores[v]["map"] for v in written]),
            "flips": {v: sum(flips) / total for v, flips in self._flips.items()},
            "classes": classes,
            "prompts": {v.name: list(v.words) for v in self.variants},
        }


def _answered(found: Detections, variant: Variant) -> Detections:
    """Let detections point at the set's names; those of distractors are gone."""
    answers = torch.tensor(variant.answers, device=found.phrases.device)[found.phrases]
    kept = answers >= 0
    return Detections(found.boxes[kept], found.scores[kept], answers[kept])


def _classes(truth: Truth) -> list[int]:
    """Return which name each true box has; one that has several is taken for the first."""
    shown: list[int] = truth.shows[~truth.crowd].int().argmax(1).tolist()
    return shown


def _best_names(found: Detections, question: Question, truth: Truth) -> list[int]:
    """Name each true box by the best detection on it; -1 where there is none."""
    boxes: Tensor = original_boxes(question, truth)[~truth.crowd]
    if not len(found.scores) or not len(boxes):
        return [-1] * len(boxes)
    scores = found.scores * (box_iou(boxes, found.boxes) >= 0.5)
    best, at = scores.max(1)
    return torch.where(best > 0, found.phrases[at], -1).tolist()


def _spread(values: Sequence[float]) -> float:
    known = [value for value in values if value >= 0]
    return max(known) - min(known) if known else 0.0
