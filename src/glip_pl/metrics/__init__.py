"""Metrics: how well detections and phrases are found, over a whole evaluation set."""

from glip_pl.metrics.coco_ap import DetectionAP
from glip_pl.metrics.lvis_ap import LVISAP
from glip_pl.metrics.metric import GroundingMetric
from glip_pl.metrics.phrase_recall import PhraseRecall, recall_hits
from glip_pl.metrics.referring_accuracy import GeneralizedReferring, ReferringAccuracy

__all__ = [
    "LVISAP",
    "DetectionAP",
    "GeneralizedReferring",
    "GroundingMetric",
    "PhraseRecall",
    "ReferringAccuracy",
    "recall_hits",
]
