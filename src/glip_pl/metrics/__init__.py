"""Metrics: how well detections and phrases are found, over a whole evaluation set."""

from glip_pl.metrics.detection import DetectionAP
from glip_pl.metrics.lvis import LVISAP
from glip_pl.metrics.recall import PhraseRecall, recall_hits

__all__ = ["LVISAP", "DetectionAP", "PhraseRecall", "recall_hits"]
