"""Metrics: how well detections and phrases are found, over a whole evaluation set."""

from glip_pl.metrics.detection import DetectionAP
from glip_pl.metrics.lvis import LVISAP
from glip_pl.metrics.metric import GroundingMetric
from glip_pl.metrics.recall import PhraseRecall, recall_hits
from glip_pl.metrics.referring import GeneralizedReferring, ReferringAccuracy

__all__ = [
    "LVISAP",
    "DetectionAP",
    "GeneralizedReferring",
    "GroundingMetric",
    "PhraseRecall",
    "ReferringAccuracy",
    "recall_hits",
]
