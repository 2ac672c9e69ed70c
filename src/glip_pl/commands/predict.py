"""``glip predict``: detect in image files what a prompt names, as pictures and JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from glip_pl.commands.parser import run_function
from glip_pl.system.memory import keep_freed_memory
from glip_pl.system.screen import complain, write

_LONGEST = 2000  # Characters of a line.
_MOST_PICTURES = 300  # Of so many files, pictures are drawn unasked.


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    keep_freed_memory()
    run_function(predict, args, renamed={"not": "unwanted"})


def predict(
    image: str,
    prompt: str,
    *,
    weights: str | None = None,
    ckpt_path: str | None = None,
    caption: bool = False,
    threshold: float | None = None,
    nms_iou: float = 0.6,
    max_detections: int = 100,
    best_only: bool = True,
    unwanted: str | None = None,
    unknown: bool = False,
    short_side: int | None = None,
    max_side: int | None = None,
    tile: int | None = None,
    output: str = "runs/predict",
    pictures: bool | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    trust: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Detect what a prompt names, and write pictures with boxes and a JSON.

    A file that cannot be read is left out; all of them are listed at the end, and the exit status
    is then 1.

    Args:
        image: An image file, a folder or a glob such as "photos/*.jpg".
        prompt: Names with dots or commas between, "cat. dog.", as many as you like, and in quotes
            where a name has such marks itself, '"St. Bernard". cat'; or a file with one name per
            line, "names.txt" (.names and .csv, too); or with --caption a sentence, whose phrases
            are found by themselves or stand in brackets, "[a cat] on [the sofa]".
            "sofa | couch" is one name with two phrases.
        weights: A run's .ckpt, a folder of `glip convert`, a file of official GLIP, a published
            name such as glip_t, or hf:user/repo.
        ckpt_path: The same as weights.
        caption: Read the prompt as a sentence.
        threshold: Scores below it are not shown; by default what a calibration stored with the
            weights, else 0.3.
        nms_iou: Of two boxes of one phrase that overlap more, the lower is dropped.
        max_detections: Boxes per image, over all names; LVIS counts 300.
        best_only: Label each thing with its best phrase only; false shows all.
        unwanted: Names that are looked for as well, so that what they mean is not taken for
            something else, "mirror. toy."; their boxes are not shown. --not is the same.
        unknown: Also show, as "unknown", what the model was trained to see and the prompt does not
            name.
        short_side: Resize the shorter side to so many pixels; that of the training's evaluation by
            default.
        max_side: Longest side after the resize.
        tile: Look for small objects in windows of so many pixels, too.
        output: Folder for the pictures and predictions.json.
        pictures: Draw the boxes; by default for up to 300 files.
        batch_size: Images at a time; more of small ones by default.
        num_workers: Processes that read images; by default none for a few files.
        device: "auto", "cpu" or "cuda".
        precision: "fp32", or "bf16" for speed: scores move by a hundredth or so.
        trust: Modules of your own whose classes the weights may name.

    Returns:
        What predictions.json holds: one record per image.
    """
    from glip_pl.inference.files import Outputs, RecordFile, image_files
    from glip_pl.inference.many import Failure, detections
    from glip_pl.inference.options import Options
    from glip_pl.inference.predictor import load

    if (ckpt_path is None) == (weights is None):
        raise ValueError("glip predict needs a model; pass either --ckpt_path or --weights")
    options = Options(
        threshold=threshold,
        nms_iou=nms_iou,
        max_detections=max_detections,
        best_only=best_only,
        unknown=unknown,
        short_side=short_side,
        max_side=max_side,
        tile=tile,
    )
    source = weights or ckpt_path or ""
    model = load(source, device=device, precision=precision, trust=trust or [])
    asked = model.compile(prompt, caption, unwanted)
    named = [repr(name) for name in asked.names]
    ending = f" and {len(named) - 20} more" if len(named) > 20 else ""
    told = [f"looking for {', '.join(named[:20])}{ending}", *asked.report.lines()]
    write(*map(_in_short, (*told, *model.hints(asked))))
    files = image_files(image)
    outputs = Outputs(Path(output), files)
    draws = len(files) <= _MOST_PICTURES if pictures is None else pictures
    records, failures = [], list[tuple[str, str]]()
    found = detections(
        model,
        [str(path) for path in files],
        [asked] * len(files),
        options,
        batch_size=batch_size,
        num_workers=num_workers,
    )
    with RecordFile(outputs.folder / "predictions.json") as kept:
        for path, result in zip(files, found, strict=True):
            if isinstance(result, Failure):
                failures.append((result.name, result.reason))
                write(f"{path.name}: {result.reason}")
                continue
            records.append(result.to_dict())
            kept.add(records[-1])
            seen = result.summary() or f"nothing above {threshold or 'the threshold'}"
            if draws:
                target = outputs.picture_of(path)
                result.save(target)
                seen += f"; see {target}"
            write(f"{path.name}: {seen}")
    if failures:
        _report(failures, len(files))
    return records


def _in_short(line: str) -> str:
    """Cut a line about names that somebody made as long as a book."""
    return (
        line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    )


def _report(failures: Sequence[tuple[str, str]], count: int) -> None:
    """List what failed, and end with status 1."""
    complain(f"glip: {len(failures)} of {count} images failed:")
    for name, reason in failures:
        complain(f"  {name}: {reason}")
    raise SystemExit(1)
