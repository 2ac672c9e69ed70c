"""Data: from annotation files to batches."""

from glip_pl.data.batch import Batch, Sample, Target, collate
from glip_pl.data.coco import CocoDetection
from glip_pl.data.dataset import DatasetBuilder, GroundingDataset
from glip_pl.data.described import DescribedDetection
from glip_pl.data.images import read_image
from glip_pl.data.lvis import LvisDetection
from glip_pl.data.module import GroundingDataModule
from glip_pl.data.phrases import PhraseGrounding
from glip_pl.data.referring import ReferringExpressions
from glip_pl.data.transforms import Pipeline

__all__ = [
    "Batch",
    "CocoDetection",
    "DatasetBuilder",
    "DescribedDetection",
    "GroundingDataModule",
    "GroundingDataset",
    "LvisDetection",
    "PhraseGrounding",
    "Pipeline",
    "ReferringExpressions",
    "Sample",
    "Target",
    "collate",
    "read_image",
]
