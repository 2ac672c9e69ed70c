"""Data: from annotation files to batches.

Names are imported when they are first used, so that prediction does without Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glip_pl.data.collate import collate

if TYPE_CHECKING:
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
    from glip_pl.data.sampling import Sampling
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
    "Sampling",
    "collate",
    "read_image",
]

_MODULES = {
    "GroundingDataModule": "module",
    "Pipeline": "transforms",
    "Sampling": "sampling",
    "read_image": "images",
}


def __getattr__(name: str) -> Any:
    """Import a name of this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'datasets')}"), name)
