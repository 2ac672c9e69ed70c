"""Writing an exported folder: graphs, tokenizer, description, and the proof that they agree."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

import glip_pl
from glip_pl.export.card import Measured, card_of
from glip_pl.export.exported import ExportedModel
from glip_pl.export.graphs import trace
from glip_pl.export.onnx_files import quantize, write_onnx
from glip_pl.inference.postprocess import PostProcess, default_aggregate
from glip_pl.model import GLIP
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.runtime.folder import TOKENIZER, Description
from glip_pl.system.aside import folder_aside
from glip_pl.text import WordPieceTokenizer

# Of the least score shown, as in `glip predict`.
_THRESHOLD = 0.3


@dataclass(frozen=True)
class ExportSettings:
    """What the weights alone do not say.

    Attributes:
        short_side: Pixels of an image's shorter side.
        max_side: Bound of the longer side.
        class_names: What the training data named.
        thresholds: Least score by name, as a calibration found them.
        postprocess: How scores become detections.
        int8: Whether to write weights of matrix products as 8 bit integers.
        score: Judges a model on a data set; None where there is none.
        scored_on: What that data set is called.
    """

    short_side: int
    max_side: int
    class_names: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    postprocess: PostProcess = field(default_factory=PostProcess)
    int8: bool = False
    score: Callable[[GLIP], float] | None = None
    scored_on: str = ""


def export_folder(model: GLIP, target: Path, settings: ExportSettings) -> Measured:
    """Write a folder that `glip_pl.runtime` opens.

    Args:
        model: In evaluation mode, in fp32 on a CPU.
        target: The folder; it must not exist.
        settings: How the model is used.

    Returns:
        What was measured; the card in the folder says it, too.

    Raises:
        ValueError: The folder exists or cannot be written, or the model cannot be exported.
    """
    tokenizer = model.text.tokenizer
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise ValueError(
            f"the text encoder {type(model.text).__name__} knows a closed list of names, which "
            "cannot be exported; train with model.text: TinyBert or BertEncoder"
        )
    if model.fusion.own_head() is not None:
        raise ValueError(
            f"the fusion plugin {type(model.fusion).__name__} brings its own head, which cannot be "
            "exported yet; use the weights as they are: glip predict, label and serve take them"
        )
    with folder_aside(target) as folder:
        for graph in trace(model):
            write_onnx(graph, folder / f"{graph.name}.onnx")
        tokenizer.save(folder / TOKENIZER)
        description = _describe(model, tokenizer, settings, (folder / TOKENIZER).read_bytes())
        description.write(folder)
        measured = _measure(model, folder, settings)
        (folder / "README.md").write_text(
            card_of(target.name, description, measured), encoding="utf-8"
        )
    return measured


def _measure(model: GLIP, folder: Path, settings: ExportSettings) -> Measured:
    """Compare the graphs with the model, narrow them where asked, and score each on the way."""
    files = sorted(folder.glob("*.onnx"))
    exported = ExportedModel(folder, model)
    differences, scores = compare(model, exported), dict[str, float]()
    before = {path.name: path.stat().st_size for path in files}
    if settings.score is not None:
        scores["PyTorch"] = settings.score(model)
        scores["ONNX, fp32"] = settings.score(exported.as_model())
    if settings.int8:
        for path in files:
            quantize(path)
        if settings.score is not None:
            scores["ONNX, int8"] = settings.score(ExportedModel(folder, model).as_model())
    return Measured(
        tuple(type(part).__name__ for part in (model.backbone, model.text, model.fusion)),
        differences,
        {path.name: (before[path.name], path.stat().st_size) for path in files},
        scores,
        settings.scored_on,
    )


@torch.no_grad()
def compare(model: GLIP, exported: ExportedModel) -> dict[str, float]:
    """Run the files and the model on the same random inputs, of sizes that no trace has seen.

    Returns:
        The largest difference of each output.
    """
    apart = {"logits": 0.0, "boxes": 0.0, "centerness": 0.0}
    generator = torch.Generator().manual_seed(0)
    for batch, height, width, words in ((1, 160, 96, 11), (2, 64, 128, 5)):
        shape = (batch, 3, height, width)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        mask = torch.ones(batch, height, width, dtype=torch.bool)
        mask[0, :, 80:] = False
        ids = torch.randint(1, 100, (batch, words), generator=generator)
        tokens = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), ids[..., None])
        wanted = model.ground(model.encode_image(images, mask), model.encode_text(tokens))
        given = exported.ground(exported.encode_image(images, mask), exported.text(tokens))
        for name, largest in apart.items():
            difference = (getattr(given, name) - getattr(wanted, name)).abs().max()
            apart[name] = max(largest, float(difference))
    return apart


def _describe(
    model: GLIP, tokenizer: WordPieceTokenizer, settings: ExportSettings, file: bytes
) -> Description:
    post = settings.postprocess
    return Description(
        encoder=encoder_hash(model, file),
        max_tokens=tokenizer.max_tokens,
        unknown_token=tokenizer.unknown_token,
        short_side=settings.short_side,
        max_side=settings.max_side,
        score_threshold=_THRESHOLD,
        nms_iou=post.nms_iou,
        max_detections=post.max_detections,
        candidates_per_level=post.candidates_per_level,
        aggregate=post.aggregate or default_aggregate(model.told),
        class_names=settings.class_names,
        thresholds=dict(settings.thresholds),
        int8=settings.int8,
        glip_pl=glip_pl.__version__,
    )


def encoder_hash(model: GLIP, tokenizer: bytes) -> str:
    """Return the SHA-256 of the weights of the text encoder and of the tokenizer's file."""
    digest = hashlib.sha256(tokenizer)
    for name, value in sorted(model.text.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
