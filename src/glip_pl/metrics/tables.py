"""Tables as metric states: boxes of all images as rows that processes exchange at once.

torchmetrics gathers a list state entry by entry, so it waits forever when processes see different
numbers of images. Here every state is joined to one table before it is sent.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from glip_pl.metrics.metric import GroundingMetric


class TableMetric(GroundingMetric):
    """Base of metrics that keep rows of tables.

    A subclass declares its tables, adds rows by appending to the list of that name and reads the
    whole with `table`.

    Attributes:
        tables: For each table its name and itself without rows.
    """

    tables: ClassVar[Mapping[str, Tensor]]

    def __init__(self) -> None:
        super().__init__()
        for name in self.tables:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all rows; the empty tables remain, so that idle processes can be gathered."""
        super().reset()
        for name, empty in self.tables.items():
            setattr(self, name, [empty.to(self.device)])

    def table(self, name: str) -> Tensor:
        """Join the rows of a table, which is one tensor already after processes were gathered."""
        rows = getattr(self, name)
        return rows if isinstance(rows, Tensor) else torch.cat(rows)


def with_image(image: int, *columns: Tensor) -> Tensor:
    """Join columns of ids [n] with the image's id in front, [n, 1 + len(columns)]."""
    return torch.stack([torch.full_like(columns[0], image), *columns], dim=1)
