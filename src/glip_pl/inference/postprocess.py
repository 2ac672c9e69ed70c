"""From token scores to labelled boxes of the original image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from glip_pl.boxes import batched_nms, clip, rescale
from glip_pl.head import GroundingOutput
from glip_pl.layers.alignment import Told
from glip_pl.structures import Detections, Question

Aggregate = Literal["mean", "max", "power", "logits"]


def phrase_scores(
    logits: Tensor, positive_map: Tensor, weights: Tensor, aggregate: Aggregate = "mean"
) -> Tensor:
    """Turn token probabilities into phrase scores.

    Args:
        logits: [N, M], alignment before the sigmoid.
        positive_map: Boolean [K, M].
        weights: [K, M], how much each token counts; see `glip_pl.prompts.weights`.
        aggregate: "mean" of the tokens, as GLIP does, so that a name of many sub-words does not win
            by one of them; "max"; "power", the geometric mean; or "logits", the probability of the
            weighted mean of the logits, for models that compare phrases as a whole.

    Returns:
        [N, K] in [0, 1].
    """
    if aggregate == "max":
        probability = logits.sigmoid()
        return torch.stack([probability[:, tokens].amax(-1) for tokens in positive_map], dim=-1)
    if aggregate == "logits":
        return (logits @ weights.to(logits.dtype).T).sigmoid()
    weight = positive_map.to(logits.dtype)
    weight = (weight / weight.sum(-1, keepdim=True)).T  # [M, K]
    if aggregate == "power":
        return (F.logsigmoid(logits) @ weight).exp()
    return logits.sigmoid() @ weight


def default_aggregate(told: Told) -> Aggregate:
    """Return how scores of tokens become those of phrases where nothing else is asked for."""
    return "logits" if told == "phrases" else "mean"


@dataclass(frozen=True)
class PostProcess:
    """Keep the best boxes of each image.

    Attributes:
        score_threshold: Phrase scores at or below it are dropped before centerness counts.
        nms_iou: Of two boxes of one phrase that overlap more, the lower is dropped.
        max_detections: Boxes kept per image, over all phrases.
        candidates_per_level: Pairs of region and phrase that enter NMS, per pyramid level.
        aggregate: How the scores of a phrase's tokens become one; see `phrase_scores`. By default
            as the model learned it: "logits" where it compares phrases as a whole, else "mean".
    """

    score_threshold: float = 0.05
    nms_iou: float = 0.6
    max_detections: int = 100
    candidates_per_level: int = 1000
    aggregate: Aggregate | None = None

    def __call__(self, output: GroundingOutput, questions: Sequence[Question]) -> list[Detections]:
        """Post-process a batch; each image is treated alone.

        Args:
            output: What the head says of the batch.
            questions: The positive maps and sizes; a phrase without a token is not found.
        """
        # In bf16 many scores would be alike, and ranked by chance.
        with torch.autocast(output.logits.device.type, enabled=False):
            return [self._image(output, b, question) for b, question in enumerate(questions)]

    def _image(self, output: GroundingOutput, b: int, question: Question) -> Detections:
        logits = output.logits[b].float()
        (named,) = question.positive_map.any(1).nonzero(as_tuple=True)
        aggregate = self.aggregate or default_aggregate(output.told)
        scores = phrase_scores(  # [N, K]
            logits, question.positive_map[named], question.weights[named], aggregate
        )
        ranked = scores
        if output.centerness is not None:
            # √(phrase score · centerness), the geometric mean, ranks boxes: FCOS, and GLIP after.
            ranked = (scores * output.centerness[b].float().sigmoid()[:, None]).sqrt()
        ranked = ranked.masked_fill(scores <= self.score_threshold, -1.0)
        num_phrases = scores.shape[1]
        (pairs,) = (ranked.flatten() >= 0).nonzero(as_tuple=True)
        if len(pairs) > self.candidates_per_level:  # Few images have so many.
            pairs = self._candidates(ranked, output.level_sizes)
        region, phrase = pairs // num_phrases, named[pairs % num_phrases]
        score = ranked.flatten()[pairs]
        boxes = clip(output.boxes[b, region].float(), question.size)
        keep = batched_nms(boxes, score, phrase, self.nms_iou)[: self.max_detections]
        return Detections(
            rescale(boxes[keep], question.size, question.original_size), score[keep], phrase[keep]
        )

    def _candidates(self, ranked: Tensor, level_sizes: Sequence[int]) -> Tensor:
        """Return which pairs of region and phrase, [N, K] laid flat, enter NMS, level by level."""
        num_phrases, start, kept = ranked.shape[1], 0, []
        for size in level_sizes:
            level = ranked[start : start + size].flatten()
            (above,) = (level >= 0).nonzero(as_tuple=True)
            if len(above) > self.candidates_per_level:
                above = level.topk(self.candidates_per_level).indices
            kept.append(above + start * num_phrases)
            start += size
        return torch.cat(kept)
