"""``glip predict``: detect in image files what a prompt names, as pictures and JSON."""

import glob
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import box_iou

from glip_pl.commands.parser import run_function
from glip_pl.data import Pipeline
from glip_pl.data.collate import collate
from glip_pl.data.images import read_image
from glip_pl.inference.answers import settle
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess
from glip_pl.inference.visualize import draw
from glip_pl.layers.precision import narrow_weights
from glip_pl.prompts import PromptTemplate
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.request import compile_request
from glip_pl.structures import Detections, Sample
from glip_pl.system.machine import choose_device
from glip_pl.system.memory import keep_freed_memory
from glip_pl.training.task import GroundingTask
from glip_pl.weights import read_run, read_weights
from glip_pl.weights.run_checkpoint import read_checkpoint

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
UNKNOWN = "unknown"

Precision = Literal["fp32", "bf16"]


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    keep_freed_memory()
    # "not" is no name for an argument in Python.
    run_function(predict, [re.sub(r"^--not(=|$)", r"--unwanted\1", arg) for arg in args])


def predict(
    image: str,
    prompt: str,
    *,
    ckpt_path: str | None = None,
    weights: str | None = None,
    caption: bool = False,
    threshold: float = 0.3,
    nms_iou: float = 0.6,
    max_detections: int = 100,
    best_only: bool = False,
    unknown: bool = False,
    unwanted: str | None = None,
    short_side: int | None = None,
    max_side: int | None = None,
    output: str = "runs/predict",
    device: str = "auto",
    precision: Precision = "fp32",
) -> list[dict[str, Any]]:
    """Detect what a prompt names, and write pictures with boxes and a JSON.

    Args:
        image: An image file, a folder or a glob such as "photos/*.jpg".
        prompt: Names with dots or commas between, "cat. dog.", as many as you like, and in quotes
            where a name has such marks itself, '"St. Bernard". cat'; or a file with one name per
            line, "names.txt" (.names and .csv, too); or with --caption a sentence, whose phrases
            are found by themselves or stand in brackets, "[a cat] on [the sofa]".
            "sofa | couch" is one name with two phrases.
        ckpt_path: Checkpoint that `glip fit` wrote.
        weights: In its place, a folder that `glip convert` wrote, a file of official GLIP, or the
            name of a published checkpoint such as glip_t.
        caption: Read the prompt as a sentence.
        threshold: Scores below it are not shown.
        nms_iou: Of two boxes of one phrase that overlap more, the lower is dropped.
        max_detections: Boxes per image, over all names; LVIS counts 300.
        best_only: Label each place with its best phrase only.
        unknown: Also show, as "unknown", what the model was trained to see and the prompt does not
            name.
        unwanted: Names that are looked for as well, so that what they mean is not taken for
            something else, "mirror. toy."; their boxes are not shown. --not is the same.
        short_side: Resize the shorter side to so many pixels; that of the training's evaluation by
            default.
        max_side: Longest side after the resize.
        output: Folder for the pictures and predictions.json.
        device: "auto", "cpu" or "cuda".
        precision: "fp32", or "bf16" for speed: scores move by a hundredth or so.

    Returns:
        What predictions.json holds: one record per image.
    """
    task, evaluation = _load(ckpt_path, weights)
    tokenizer = task.model.text.tokenizer
    asked = compile_request(prompt, tokenizer, caption=caption, unwanted=unwanted)
    named = [repr(name) for name in asked.names]
    ending = f" and {len(named) - 20} more" if len(named) > 20 else ""
    print(f"looking for {', '.join(named[:20])}{ending}")
    for line in asked.report.lines():
        print(line)
    known = [n for n in task.class_names if n.lower() not in {p.lower() for p in asked.names}]
    if unknown and not task.class_names:
        raise ValueError(
            "--unknown needs the names of the training data, and this checkpoint was trained on "
            "captions; drop --unknown"
        )
    others = compile_names(known, tokenizer) if unknown and known else None
    find = Finder(
        task.eval().to(choose_device(device)),
        Pipeline(
            short_sides=[short_side or evaluation.get("short_side", 800)],
            max_side=max_side or evaluation.get("max_side", 1333),
        ),
        # A score is the root of phrase score and centerness, so none above it is lost.
        PostProcess(score_threshold=threshold**2, nms_iou=nms_iou, max_detections=max_detections),
        precision,
    )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for path in image_files(image):
        pixels = read_image(path)
        found, *rest = find(pixels, [asked] if others is None else [asked, others])
        found = found.select(found.scores >= threshold)
        if best_only:
            found = found.best_of_each_place()
        boxes, scores, colors = found.boxes, found.scores, found.phrases.tolist()
        labels = [asked.names[k] for k in colors]
        for of_known in rest:
            more = unnamed(of_known, boxes, threshold)
            boxes = torch.cat([boxes, more.boxes])
            scores = torch.cat([scores, more.scores])
            labels += [UNKNOWN] * len(more.scores)
            colors += [-1] * len(more.scores)
        texts = [f"{name} {score:.2f}" for name, score in zip(labels, scores.tolist(), strict=True)]
        picture = draw(pixels, boxes, texts, colors=colors)
        target = folder / f"{path.stem}.png"
        Image.fromarray(picture).save(target)
        counts = ", ".join(f"{count} {name}" for name, count in Counter(labels).items())
        print(f"{path.name}: {counts or f'nothing above {threshold}'}; see {target}")
        records.append(_record(path, labels, scores, boxes))
    (folder / "predictions.json").write_text(json.dumps(records, indent=2) + "\n")
    return records


def _load(ckpt_path: str | None, weights: str | None) -> tuple[GroundingTask, dict[str, int]]:
    """Load a model, and the sizes at which it was evaluated where they are known."""
    if (ckpt_path is None) == (weights is None):
        raise ValueError("glip predict needs a model; pass either --ckpt_path or --weights")
    if weights is not None:
        return read_weights(weights).build(), {}
    assert ckpt_path is not None
    evaluation: dict[str, int] = read_checkpoint(ckpt_path).get("evaluation", {})
    task = read_run(ckpt_path)
    return task, evaluation


class Finder:
    """A trained task with what stands around it at prediction."""

    def __init__(
        self,
        task: GroundingTask,
        pipeline: Pipeline,
        postprocess: PostProcess,
        precision: Precision,
    ) -> None:
        self.task, self.pipeline = task, pipeline
        self.detector = Detector(task.model, postprocess)
        self.bf16 = precision == "bf16"
        if self.bf16:
            narrow_weights(task.model)

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray, prompts: Sequence[CompiledPrompt]) -> list[Detections]:
        """Detect in one image, uint8 [H, W, 3], what each prompt names; boxes are its pixels."""
        device, found = self.task.device, []
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            image = None
            for prompt in prompts:
                sample = self.pipeline(_sample(pixels, prompt))
                batch = collate([sample], self.task.model.text.tokenizer).to(device)
                if image is None:
                    image = self.task.model.encode_image(batch.images, batch.mask)
                found += [settle(f, prompt.answers) for f in self.detector(batch, image)]
        return [Detections(f.boxes.cpu(), f.scores.cpu(), f.phrases.cpu()) for f in found]


def _sample(pixels: np.ndarray, prompt: CompiledPrompt) -> Sample:
    """Make a sample of which nothing is known."""
    count = len(prompt.names)
    return Sample(
        image=pixels,
        prompt=PromptTemplate().join(prompt.names),
        phrase_ids=torch.full((count,), -1),
        original_size=(pixels.shape[0], pixels.shape[1]),
        chunks=prompt.chunks,
    )


def unnamed(known: Detections, named: Tensor, threshold: float) -> Detections:
    """Confident boxes of names that the prompt does not have, where no named box lies.

    Args:
        known: Detections of the training names that the prompt lacks.
        named: [D, 4], boxes that the prompt's phrases took, xyxy pixels.
        threshold: Least score.
    """
    sure = known.select(known.scores >= threshold)
    if len(named) and len(sure.boxes):
        sure = sure.select(box_iou(sure.boxes, named).amax(1) <= 0.5)
    # One thing may answer to several names; as "unknown" it is shown once.
    return sure.best_of_each_place(iou=0.5)


def image_files(pattern: str) -> list[Path]:
    """List the image files of a path, a folder or a glob.

    Raises:
        ValueError: There is none.
    """
    path = Path(pattern)
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    else:
        files = [path] if path.is_file() else [Path(name) for name in sorted(glob.glob(pattern))]
    if not files:
        raise ValueError(
            f"no image at {pattern!r}; pass a file, a folder with {', '.join(IMAGE_SUFFIXES)} "
            'files, or a quoted glob such as "photos/*.jpg"'
        )
    return files


def _record(path: Path, labels: list[str], scores: Tensor, boxes: Tensor) -> dict[str, Any]:
    detections = [
        {"phrase": label, "score": round(score, 4), "box": [round(x, 2) for x in box]}
        for label, score, box in zip(labels, scores.tolist(), boxes.tolist(), strict=True)
    ]
    return {"image": str(path), "detections": detections}
