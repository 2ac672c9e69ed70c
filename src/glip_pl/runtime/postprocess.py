"""From token scores to labelled boxes, in NumPy: the twin of `glip_pl.inference.postprocess`."""

from dataclasses import dataclass

import numpy as np

from glip_pl.runtime.folder import Description


@dataclass(frozen=True)
class Found:
    """Labelled boxes of one image, best first.

    Attributes:
        boxes: [D, 4], xyxy pixels of the image that was given, inside it.
        scores: [D] in [0, 1].
        labels: [D], positions in the names that were asked for.
        names: [D], the names themselves.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] = ()

    def select(self, index: np.ndarray) -> "Found":
        """Keep some of the boxes, by Boolean mask or by positions."""
        return Found(self.boxes[index], self.scores[index], self.labels[index])


def phrase_scores(
    logits: np.ndarray, positive_map: np.ndarray, weights: np.ndarray, aggregate: str
) -> np.ndarray:
    """Turn logits [N, M] into phrase scores [N, K] by a Boolean map and weights [K, M]."""
    if aggregate == "logits":
        return _sigmoid(logits @ weights.T)
    if aggregate == "max":
        probability = _sigmoid(logits)
        return np.stack([probability[:, tokens].max(-1) for tokens in positive_map], -1)
    weight = positive_map.astype(logits.dtype)
    weight = (weight / weight.sum(-1, keepdims=True)).T
    if aggregate == "power":
        geometric: np.ndarray = np.exp(-np.logaddexp(0, -logits) @ weight)
        return geometric
    scores: np.ndarray = _sigmoid(logits) @ weight
    return scores


def best_boxes(
    outputs: tuple[np.ndarray, ...],
    positive_map: np.ndarray,
    weights: np.ndarray,
    threshold: float,
    size: tuple[int, int],
    settings: Description,
) -> Found:
    """Keep the best boxes of one image for one chunk of a vocabulary.

    Args:
        outputs: Logits [1, N, M], boxes [1, N, 4], centerness [1, N] and the regions per level [L].
        positive_map: Boolean [K, M].
        weights: [K, M], how much each token counts.
        threshold: Least score.
        size: (height, width) of the image inside the padding.
        settings: Those of the model.

    Returns:
        Boxes in pixels of the padded input; labels are rows of the map.
    """
    logits, boxes, centerness, level_sizes = outputs
    scores = phrase_scores(logits[0], positive_map, weights, settings.aggregate)
    # √(phrase score · centerness), the geometric mean, ranks boxes: FCOS, and GLIP after it.
    ranked = np.sqrt(scores * _sigmoid(centerness[0])[:, None])
    ranked[scores <= threshold**2] = -1.0
    flat, start, pairs = ranked.ravel(), 0, []
    for count in level_sizes.tolist():
        end = start + count * scores.shape[1]
        level = flat[start:end]
        most = min(settings.candidates_per_level, len(level))
        best = np.argpartition(-level, most - 1)[:most] if most else np.zeros(0, np.int64)
        pairs.append(best[level[best] >= 0] + start)
        start = end
    pair = np.concatenate(pairs)
    pair = pair[np.argsort(-flat[pair], kind="stable")]
    region, phrase = np.divmod(pair, scores.shape[1])
    # Clipped as in training: a box keeps a pixel at least.
    height, width = size
    least = np.array([0, 0, 1, 1], np.float32)
    most_ = np.array([width - 1, height - 1, width, height], np.float32)
    candidates = np.minimum(np.maximum(boxes[0, region], least), most_)
    keep = suppress(candidates, phrase, settings.nms_iou, settings.max_detections)
    found = Found(candidates[keep], flat[pair][keep], phrase[keep])
    return found.select(found.scores >= threshold)


def suppress(boxes: np.ndarray, phrases: np.ndarray, iou: float, most: int) -> np.ndarray:
    """Drop boxes that overlap a better one of the same phrase.

    Args:
        boxes: [D, 4], best first.
        phrases: [D].
        iou: Overlap from which on the lower box is dropped.
        most: Boxes to keep.

    Returns:
        Positions of what is kept, best first.
    """
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1) * (y2 - y1)
    alive, kept = np.ones(len(boxes), bool), list[int]()
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        if len(kept) == most:
            break
        width = np.maximum(np.minimum(x2, x2[i]) - np.maximum(x1, x1[i]), 0)
        height = np.maximum(np.minimum(y2, y2[i]) - np.maximum(y1, y1[i]), 0)
        shared = width * height
        alive &= (shared <= iou * (area + area[i] - shared)) | (phrases != phrases[i])
    return np.array(kept, np.int64)


def one_per_place(boxes: np.ndarray, iou: float = 0.7) -> np.ndarray:
    """Return the positions of the best box of each thing, whatever its name; [D, 4], best first."""
    return suppress(boxes, np.zeros(len(boxes), np.int64), iou, len(boxes))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    probability: np.ndarray = np.exp(-np.logaddexp(0, -x))
    return probability
