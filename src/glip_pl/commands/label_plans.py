"""What `glip label` asks, and what it writes once all shards are there; here, of names.

Captions are another module's, whose imports read data sets of all kinds.
"""

from pathlib import Path
from typing import Protocol

from glip_pl.inference.options import Options
from glip_pl.inference.predictor import Predictor
from glip_pl.labelling.export import export
from glip_pl.labelling.tasks import LabelTask, NamedBoxes
from glip_pl.system.screen import next_command, write


class Plan(Protocol):
    """What `glip label` needs of a plan.

    Attributes:
        task: What is asked of each image.
        options: Which boxes are kept.
    """

    task: LabelTask
    options: Options

    def finish(self, paths: list[Path], output: Path) -> list[Path]:
        """Write the files beside the shards, and say so."""
        ...


class NamePlan:
    """Boxes for what a prompt names, in the forms of other programs."""

    def __init__(
        self,
        model: Predictor,
        options: Options,
        prompt: str,
        caption: bool,
        unwanted: str | None,
        formats: list[str] | None,
        uncertain_first: bool,
    ) -> None:
        asked = model.compile(prompt, caption, unwanted)
        write(*asked.report.lines(), *model.hints(asked))
        self.task: LabelTask = NamedBoxes(model, asked, caption=caption)
        self.options = options
        self._formats, self._uncertain_first = formats or ["jsonl"], uncertain_first

    def finish(self, paths: list[Path], output: Path) -> list[Path]:
        """Write the files beside the shards, and say so."""
        written = export(paths, output, self._formats, uncertain_first=self._uncertain_first)
        write(*map(str, written))
        for name, path in zip(self._formats, written, strict=True):
            if name not in ("jsonl", "parquet"):  # Others are read as data sets.
                write(next_command("glip", "data", "show", str(path)))
                break
        return written
