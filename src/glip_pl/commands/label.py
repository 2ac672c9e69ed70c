"""``glip label``: label any number of images, by any number of processes, killed as often."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glip_pl.commands.parser import run_function
from glip_pl.system.memory import importing, keep_freed_memory
from glip_pl.system.screen import complain, write

# What finds boxes is imported when it does: the help of a command loads no model's packages.
if TYPE_CHECKING:
    from glip_pl.commands.label_plans import Plan
    from glip_pl.labelling.engine import Progress
    from glip_pl.labelling.sources import Shard

_LISTED = 20  # Failures that are listed one by one; all stand in the shards.
_SECONDS = 5.0  # Between lines of progress.


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    keep_freed_memory()
    run_function(label, args, renamed={"not": "unwanted"})


def label(
    images: list[str],
    *,
    weights: str,
    prompt: str | None = None,
    captions: bool = False,
    output: str = "runs/label",
    formats: list[str] | None = None,
    uncertain_first: bool = False,
    caption: bool = False,
    threshold: float | None = None,
    keep: float = 0.5,
    ignore: float = 0.3,
    ensemble: bool = False,
    truth: str | None = None,
    nms_iou: float = 0.6,
    max_detections: int = 100,
    best_only: bool = True,
    unwanted: str | None = None,
    short_side: int | None = None,
    max_side: int | None = None,
    tile: int | None = None,
    every: int = 1,
    shard_size: int = 1000,
    batch_size: int | None = None,
    num_workers: int | None = None,
    rank: int | None = None,
    world: int | None = None,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    trust: list[str] | None = None,
) -> list[str]:
    """Label many images with boxes for what a prompt names, or their own captions.

    Images are cut into shards, and every labelled shard is a file below OUTPUT/shards, whole or not
    there. Processes share the shards without talking: those of torchrun and SLURM know their place,
    others are told it by --rank and --world. Run the same command again after an interruption, with
    any number of processes: it does what is left. The last one writes the other formats.

    With --captions it makes data to train on: each image is asked for the phrases of its own
    sentence. Boxes from --keep on teach; those between --ignore and --keep count neither for nor
    against. OUTPUT/data.yaml is what `glip fit --data` takes.

    Args:
        images: Images, videos, .tar files (WebDataset), folders of them, globs, .txt files with a
            path a line, .tsv files with a path and a prompt in each row. With --captions also data
            sets with captions, as `glip data check` reads them; the caption of other images is the
            .txt of the same name beside.
        weights: Weights of any kind, as for `glip predict`.
        prompt: What to look for, as for `glip predict`.
        captions: Ask each image for what its caption names, and write data to train on.
        output: Folder of the results.
        formats: Of jsonl, coco, odvg, parquet, label_studio and cvat, any; jsonl by default.
        uncertain_first: In these, put images first of whose boxes the model is least sure.
        caption: Read prompts as sentences.
        threshold: Least score; by default what a calibration stored with the weights, else 0.3.
        keep: With --captions: least score of a box that is taken for true.
        ignore: With --captions: least score at which a box is not taken for nothing.
        ensemble: With --captions: ask by the sentence and by the list of its phrases; the mean of
            both scores counts.
        truth: With --captions: annotations by people of some of the images, to see how often boxes
            of each score are right.
        nms_iou: Of two boxes of one phrase that overlap more, the lower is dropped.
        max_detections: Boxes per image.
        best_only: Label each thing with its best phrase only.
        unwanted: Names that only keep others off, as for `glip predict`. --not is the same.
        short_side: Resize the shorter side to so many pixels.
        max_side: Longest side after the resize.
        tile: Look for small objects in windows of so many pixels, too.
        every: Of a video, label every so manieth frame.
        shard_size: Images of a shard; a tar file and a video are one each.
        batch_size: Images at a time; more of small ones by default.
        num_workers: Processes that read images; one per core by default.
        rank: Number of this process, from 0.
        world: How many processes there are.
        device: "auto", "cpu" or "cuda".
        precision: "fp32", or "bf16" for speed.
        trust: Modules of your own whose classes the weights may name.

    Returns:
        The files that were written beside the shards; none while other processes have shards left.
    """
    with importing():
        from glip_pl.commands.label_plans import NamePlan
        from glip_pl.inference.options import Options
        from glip_pl.inference.predictor import load
        from glip_pl.labelling.engine import Engine
        from glip_pl.labelling.ranks import local_device, rank_and_world

    _check(prompt, captions, threshold, formats, truth, ensemble)
    place, count = rank_and_world(rank, world)
    shards = _shards(images, shard_size, captions)
    model = load(weights, device=local_device(device), precision=precision, trust=trust or [])
    options = Options(
        threshold=ignore if captions else threshold,
        nms_iou=nms_iou,
        max_detections=max_detections,
        best_only=best_only,
        short_side=short_side,
        max_side=max_side,
        tile=tile,
    )
    plan: Plan
    if captions:
        from glip_pl.commands.caption_plan import CaptionPlan  # Reads data sets of all kinds.

        plan = CaptionPlan(model, options, keep, ignore, truth, ensemble)
    else:
        plan = NamePlan(model, options, str(prompt), caption, unwanted, formats, uncertain_first)
    engine = Engine(
        *(model, plan.task, plan.options, Path(output)),
        batch_size=batch_size,
        num_workers=num_workers,
        every=every,
    )
    progress = engine.run(shards, rank=place, world=count, report=_Ticker())
    write(progress.line())
    paths = [engine.path_of(shard) for shard in shards]
    left = engine.left(shards)
    written = [] if left else plan.finish(paths, engine.output)
    if left:
        write(f"{left} of {len(paths)} shards are left to other processes")
    if progress.failures:
        _report(progress)
    return [str(path) for path in written]


def _check(
    prompt: str | None,
    captions: bool,
    threshold: float | None,
    formats: list[str] | None,
    truth: str | None,
    ensemble: bool,
) -> None:
    """Refuse what does not go together, before anything is loaded."""
    from glip_pl.labelling.export import FORMATS
    from glip_pl.labelling.formats import refuse_without_arrow

    if captions and (prompt is not None or threshold is not None or formats is not None):
        given = "prompt" if prompt is not None else "threshold" if threshold is not None else None
        raise ValueError(
            f"--{given or 'formats'} does not go with --captions, which asks each image for its "
            "own phrases, keeps boxes by --keep and --ignore and writes ODVG; drop one of them"
        )
    if not captions and prompt is None:
        raise ValueError('--prompt="cat. dog." is needed, or --captions for images with sentences')
    if not captions and ensemble:
        raise ValueError("--ensemble goes with --captions; drop it, or add --captions")
    if not captions and truth is not None:
        raise ValueError("--truth goes with --captions; `glip test` judges a model on annotations")
    unknown = [name for name in formats or [] if name not in FORMATS]
    if unknown:
        raise ValueError(f"--formats: {unknown[0]!r} is none of {', '.join(FORMATS)}")
    if "parquet" in (formats or []):
        refuse_without_arrow()  # Now, not when all is found.


def _shards(images: list[str], shard_size: int, captions: bool) -> "list[Shard]":
    if captions:
        from glip_pl.teaching.sources import captioned_shards

        return captioned_shards(images, shard_size)
    from glip_pl.labelling.sources import shards_of

    return shards_of(images, shard_size)


class _Ticker:
    """Print a line of progress every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, progress: "Progress") -> None:
        if time.monotonic() - self._last >= _SECONDS:
            self._last = time.monotonic()
            complain(f"{progress.line()}")


def _report(progress: "Progress") -> None:
    """List what failed, and end with status 1."""
    complain(f"glip: {len(progress.failures)} images failed:")
    for failure in progress.failures[:_LISTED]:
        complain(f"  {failure.name}: {failure.reason}")
    if len(progress.failures) > _LISTED:
        complain('  ...; all have an "error" in the shards')
    raise SystemExit(1)
