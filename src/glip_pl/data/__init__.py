"""Data: from annotation files to batches."""

from glip_pl.data.collate import collate
from glip_pl.data.datasets import (
    CategoryDetection,
    DatasetBuilder,
    DescribedDetection,
    GroundingDataset,
    LvisDetection,
    PhraseGrounding,
    ReferringExpressions,
)
from glip_pl.data.images import read_image
from glip_pl.data.module import GroundingDataModule
from glip_pl.data.transforms import Pipeline

__all__ = [
    "CategoryDetection",
    "DatasetBuilder",
    "DescribedDetection",
    "GroundingDataModule",
    "GroundingDataset",
    "LvisDetection",
    "PhraseGrounding",
    "Pipeline",
    "ReferringExpressions",
    "collate",
    "read_image",
]
