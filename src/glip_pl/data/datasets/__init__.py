"""Data sets: annotations of any form as samples, and how each kind is judged."""

from glip_pl.data.datasets.base import DatasetBuilder, GroundingDataset
from glip_pl.data.datasets.described import DescribedDetection
from glip_pl.data.datasets.detection import CategoryDetection
from glip_pl.data.datasets.lvis_detection import LvisDetection
from glip_pl.data.datasets.phrases import PhraseGrounding
from glip_pl.data.datasets.referring import ReferringExpressions

__all__ = [
    "CategoryDetection",
    "DatasetBuilder",
    "DescribedDetection",
    "GroundingDataset",
    "LvisDetection",
    "PhraseGrounding",
    "ReferringExpressions",
]
