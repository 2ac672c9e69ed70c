"""One test run on one test set, as its files tell it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Lists = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Run:
    """What one run says of one test set.

    Attributes:
        manifest: The set's record of the manifest.
        lists: The set's lists of ``predictions.json``.
        metrics: The scores of ``results.json``, without the set's name; None is undefined.
    """

    manifest: Mapping[str, Any]
    lists: Lists
    metrics: Mapping[str, float | None]
