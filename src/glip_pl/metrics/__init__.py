"""Metrics: how well detections and phrases are found, over a whole evaluation set."""

from glip_pl.metrics.detection import DetectionAP
from glip_pl.metrics.recall import PhraseRecall

__all__ = ["DetectionAP", "PhraseRecall"]
