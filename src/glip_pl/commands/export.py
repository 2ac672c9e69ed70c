"""``glip export``: a model as ONNX files that run without PyTorch, any vocabulary their input."""

from pathlib import Path
from typing import Literal

from glip_pl.commands.parser import run_function
from glip_pl.system.aside import refuse_existing
from glip_pl.system.screen import next_command, write


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(export, args)


def export(
    weights: str,
    output: Path,
    *,
    format: str = "onnx",
    short_side: int | None = None,
    max_side: int | None = None,
    int8: bool = False,
    data: str | None = None,
    split: Literal["val", "test"] = "val",
    root: str | None = None,
) -> None:
    """Write image.onnx, text.onnx and ground.onnx, with tokenizer and description beside them.

    Args:
        weights: A .ckpt of `glip fit`, a folder of `glip convert`, an official .pth, or a
            published name such as glip_t.
        output: The folder to write.
        format: "onnx" is the only one.
        short_side: Pixels of an image's shorter side; that of the training's evaluation by default.
        max_side: Bound of the longer side, likewise.
        int8: Write the weights of matrix products as 8 bit integers.
        data: A set to score the files on beside PyTorch, a name such as bccd or a YAML; what was
            measured stands in the folder's README.md.
        split: Which sets of it; the first one counts.
        root: Folder of the data, where it is not the one of the YAML.
    """
    from importlib.util import find_spec

    from glip_pl.training.from_weights import task_of
    from glip_pl.weights import read_weights

    if format != "onnx":
        raise ValueError(f"there is no format {format!r}; --format=onnx is the only one")
    refuse_existing(output)  # Before anything is read.
    lacking = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if lacking:
        raise ValueError(
            f'glip export needs {", ".join(lacking)}; run: pip install "glip-pl[export]"'
        )
    from glip_pl.data.descriptors import read_descriptor
    from glip_pl.export.folder import ExportSettings, export_folder
    from glip_pl.inference.scoring import score_sets
    from glip_pl.model import GLIP

    opened = read_weights(weights)
    task, about = task_of(opened).eval(), opened.about
    score = None
    if data is not None:
        described = read_descriptor(data, root=root)
        post = task.detector.postprocess

        def score(model: GLIP) -> float:
            metrics = next(iter(score_sets(model, described, split, postprocess=post).values()))
            return next(iter(metrics.values()))

    settings = ExportSettings(
        short_side=short_side or about.short_side,
        max_side=max_side or about.max_side,
        class_names=tuple(task.class_names),
        postprocess=task.detector.postprocess,
        thresholds=about.thresholds,
        int8=int8,
        score=score,
        scored_on=f"{data}/{split}",
    )
    measured = export_folder(task.model, output, settings)
    write(
        f"wrote {output}", *measured.lines(), next_command("glip", "serve", f"--weights={output}")
    )
