"""What `glip label --captions` asks, and what it writes once all shards are there."""

from dataclasses import replace
from pathlib import Path

from glip_pl.inference.options import Options
from glip_pl.inference.predictor import Predictor
from glip_pl.labelling.tasks import LabelTask
from glip_pl.system.screen import next_command, write
from glip_pl.teaching.collect import collect
from glip_pl.teaching.lessons import Rule
from glip_pl.teaching.task import CaptionLessons


class CaptionPlan:
    """Boxes for what captions name, as data to train on."""

    def __init__(
        self,
        model: Predictor,
        options: Options,
        keep: float,
        ignore: float,
        truth: str | None,
        ensemble: bool,
    ) -> None:
        best = options.best_only
        rule = Rule(keep, ignore, options.max_detections, options.nms_iou, best, ensemble)
        # Of two prompts the best is chosen once they are joined.
        self.options = replace(options, best_only=False) if ensemble else options
        self._lessons = CaptionLessons(model, rule)
        self.task: LabelTask = self._lessons
        self._truth = truth

    def finish(self, paths: list[Path], output: Path) -> list[Path]:
        """Write the files beside the shards, and say so."""
        taught = collect(paths, output, self._lessons.provenance, truth=self._truth)
        write(f"{taught.images} images teach, with {taught.boxes} boxes")
        write(*(f"left out: {count} {reason}" for reason, count in taught.left_out.items()))
        for edge, precision, count in taught.precision:
            write(f"scores from {edge:.1f}: {precision:.0%} of {count} boxes right")
        write(*map(str, taught.files))
        write(next_command("glip", "fit", f"--data={output / 'data.yaml'}", "--weights=WEIGHTS"))
        return list(taught.files)
