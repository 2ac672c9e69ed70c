"""``glip benchmark``: time a model stage by stage."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glip_pl.commands.parser import run_function

if TYPE_CHECKING:
    from glip_pl.data import GroundingDataModule


def run(args: list[str]) -> None:
    """Run the command with the arguments that follow its name."""
    run_function(benchmark, args)


def benchmark(
    *,
    model: Literal[
        "glip_t_a",
        "glip_t",
        "glip_l",
        "grounding_dino_t",
        "grounding_dino_b",
        "mm_grounding_dino_t",
        "mm_grounding_dino_b",
        "mm_grounding_dino_l",
        "llmdet_t",
        "llmdet_b",
        "llmdet_l",
        "resnet50",
        "swin_t",
        "tiny",
    ] = "glip_t",
    fusion: str | None = None,
    weights: str | None = None,
    ckpt_path: str | None = None,
    size: str = "800x1333",
    names: str = "4",
    batch_size: int = 1,
    precision: Literal["fp32", "bf16"] = "fp32",
    train: bool = False,
    compile: bool = False,
    baseline: bool = False,
    repeats: int | None = None,
    data: str | None = None,
    root: str | None = None,
    num_workers: int | None = None,
    images: int = 64,
    device: str = "auto",
    json_file: str | None = None,
) -> None:
    """Time a model stage by stage, and beside it official GLIP's arrangement, or transformers'.

    Args:
        model: A published architecture, or another model of `glip fit`, with random weights: they
            time the same as trained ones.
        fusion: For a model without a fusion of its own (resnet50, swin_t, tiny): the plugin, deep
            by default.
        weights: In its place, weights of any kind that `glip predict --weights` takes.
        ckpt_path: In its place, a checkpoint of `glip fit`.
        size: Height x width of the images in pixels.
        names: How many names the prompt has, or a text file with one name per line.
        batch_size: Images at a time.
        precision: Of the arithmetic; the baseline always computes in fp32, as official GLIP does.
        train: Time a training step (forward, losses, backward, AdamW) in place of detection.
        compile: Run the model through torch.compile; the time to compile is not counted.
        baseline: Also time the official arrangement of GLIP and compare the outputs; for models of
            the Grounding DINO family transformers, in as many pairs as repeats, by turns.
        repeats: Timed runs of either, 3 by default, of which the fastest counts; or pairs, 5 by
            default.
        data: In place of random images, a set of `glip fit` (a name, or a YAML): images a second
            of its loader, of the model, and of both together, with its own names.
        root: Folder of that set, where it is not the one that its YAML names.
        num_workers: Processes that load it; as its YAML says by default.
        images: How many of it, at least.
        device: "auto", "cpu" or "cuda".
        json_file: Write all that was found into this file.
    """
    from glip_pl.benchmark import pairs, run, table, throughput

    task, described = run.open_model(model, fusion, weights, ckpt_path, device)
    name = weights or ckpt_path or (f"{fusion}-{model}" if fusion else model)
    if data is not None and (baseline or compile):
        raise ValueError("--data times a set here alone; leave --baseline and --compile out")
    by_pairs = baseline and task.model.fusion.own_head() is not None
    asked = run.Asked(
        model=name,
        names=run.read_names(names),
        size=run.read_size(size),
        batch_size=batch_size,
        precision=precision,
        train=train,
        compiled=compile,
        repeats=repeats or (5 if by_pairs else 3),
    )
    report: run.Report | pairs.PairReport | throughput.Throughput
    if data is not None:
        of_set = throughput.Asked(name, data, images, precision, train)
        report = throughput.time_throughput(
            task, _described(data, root, batch_size, num_workers), of_set
        )
        throughput.show_throughput(report)
    elif by_pairs:
        report = pairs.time_pairs(task, described, asked)
        pairs.show_pairs(report)
    else:
        report = run.time_model(task, asked, baseline=baseline)
        table.show(report)
    if json_file:
        Path(json_file).write_text(json.dumps(asdict(report), indent=2) + "\n")


def _described(
    data: str, root: str | None, batch_size: int, num_workers: int | None
) -> "GroundingDataModule":
    """Open a set that is loaded as asked."""
    from glip_pl.data.descriptors import read_descriptor

    described = read_descriptor(data, root=root)
    described.batch_size = described.eval_batch_size = batch_size
    if num_workers is not None:
        described.num_workers = num_workers
    return described
