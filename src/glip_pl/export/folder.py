"""Writing an exported folder: graphs, tokenizer, description, and the proof that they agree."""

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import glip_pl
from glip_pl.export.graphs import Graph, trace
from glip_pl.export.onnx_files import quantize, write_onnx
from glip_pl.inference.postprocess import PostProcess
from glip_pl.model import GLIP
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.runtime.folder import TOKENIZER, Description
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
        postprocess: How scores become detections.
        int8: Whether to write weights of matrix products as 8 bit integers.
    """

    short_side: int
    max_side: int
    class_names: tuple[str, ...] = ()
    postprocess: PostProcess = field(default_factory=PostProcess)
    int8: bool = False


def export_folder(model: GLIP, target: Path, settings: ExportSettings) -> dict[str, float]:
    """Write a folder that `glip_pl.runtime` opens.

    Args:
        model: In evaluation mode, in fp32 on a CPU.
        target: The folder; it must not exist.
        settings: How the model is used.

    Returns:
        The largest difference between the graphs and the model per output, at a batch and a size
        that the exporter did not see.

    Raises:
        ValueError: The folder exists, or the model cannot be exported.
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
    if target.exists():
        raise ValueError(f"{str(target)!r} exists already; name a new folder, or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside the target and then renamed, so that a folder is whole or not there.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        folder = Path(name) / "model"
        folder.mkdir()
        graphs = trace(model)
        for graph in graphs:
            write_onnx(graph, folder / f"{graph.name}.onnx")
        tokenizer.save(folder / TOKENIZER)
        _describe(model, tokenizer, settings, (folder / TOKENIZER).read_bytes()).write(folder)
        differences = compare(model, graphs, folder)
        if settings.int8:
            for graph in graphs:
                quantize(folder / f"{graph.name}.onnx")
        folder.rename(target)
    return differences


@torch.no_grad()
def compare(model: GLIP, graphs: tuple[Graph, ...], folder: Path) -> dict[str, float]:
    """Run the files and the model on the same random inputs, of a size that no trace has seen.

    Returns:
        The largest difference of each output.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1, 3, 160, 96), generator=generator, dtype=torch.uint8)
    mask = torch.ones(1, 160, 96, dtype=torch.bool)
    mask[:, :, 80:] = False
    ids = torch.randint(1, 100, (1, 11), generator=generator)
    text_mask = torch.ones(1, 11, dtype=torch.bool)
    image = model.encode_image(images, mask)
    text = model.encode_text(TokenBatch(ids, text_mask, ids[..., None]))
    output = model.ground(image, text)
    assert output.centerness is not None
    expected = {
        "logits": output.logits,
        "boxes": output.boxes,
        "centerness": output.centerness,
    }
    values: dict[str, Any] = {
        "images": images.numpy(),
        "mask": mask.numpy(),
        "ids": ids.numpy(),
        "text_mask": text_mask.numpy(),
    }
    for graph in graphs:
        session = onnxruntime.InferenceSession(folder / f"{graph.name}.onnx")
        feeds = {given.name: values[given.name] for given in session.get_inputs()}
        values |= dict(zip(graph.outputs, session.run(None, feeds), strict=True))
    return {
        name: float(np.abs(values[name] - value.numpy()).max()) for name, value in expected.items()
    }


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
        aggregate=post.aggregate,
        class_names=settings.class_names,
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
