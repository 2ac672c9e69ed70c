"""The rows of the table: what is measured on a device, the most telling first."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One run of the benchmark; see the options of ``glip benchmark``."""

    model: str
    names: int = 80
    batch: int = 1
    precision: Literal["fp32", "bf16"] = "bf16"
    fusion: str | None = None
    size: tuple[int, int] = (800, 1333)
    train: bool = False
    compiled: bool = False
    baseline: bool = False

    @property
    def name(self) -> str:
        """How reports name the model."""
        return f"{self.fusion}-{self.model}" if self.fusion else self.model


ROWS = (
    Row("glip_t", batch=8, baseline=True),
    Row("glip_t", baseline=True),
    Row("glip_t", precision="fp32", baseline=True),
    Row("glip_t", names=4),
    Row("glip_t_a", batch=8),
    Row("glip_l"),
    Row("glip_l", batch=8),
    Row("glip_t", batch=8, size=(480, 640), train=True, baseline=True),
    Row("grounding_dino_t", batch=8, baseline=True),
    Row("resnet50", fusion="query", batch=8),
    Row("glip_t", names=1203),
    Row("glip_t", compiled=True),
)

# The same kinds of rows, within seconds of a CPU.
SMALL = (96, 128)
REHEARSAL = (
    Row("tiny", names=3, size=SMALL, precision="fp32", baseline=True),
    Row("tiny", names=3, size=SMALL, batch=2),
    Row("tiny", names=3, size=SMALL, fusion="query", precision="fp32"),
    Row("tiny", names=3, size=SMALL, train=True, precision="fp32", baseline=True),
)
