"""``glip export``: a model as ONNX files that run without PyTorch, any vocabulary their input."""

from pathlib import Path

from glip_pl.commands.parser import run_function


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
    """
    from importlib.util import find_spec

    from glip_pl.training.from_weights import task_of
    from glip_pl.weights import read_weights

    if format != "onnx":
        raise ValueError(f"there is no format {format!r}; --format=onnx is the only one")
    lacking = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if lacking:
        raise ValueError(
            f'glip export needs {", ".join(lacking)}; run: pip install "glip-pl[export]"'
        )
    from glip_pl.export.folder import ExportSettings, export_folder

    opened = read_weights(weights)
    task, about = task_of(opened).eval(), opened.about
    settings = ExportSettings(
        short_side=short_side or about.short_side,
        max_side=max_side or about.max_side,
        class_names=tuple(task.class_names),
        postprocess=task.detector.postprocess,
        int8=int8,
    )
    differences = export_folder(task.model, output, settings)
    for name, value in differences.items():
        print(f"{name:11} within {value:.1e} of PyTorch at a size that the exporter did not see")
    for path in sorted(output.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
